/** `carillon node --monitor`: probes and metrics over HTTP, from before the node is open until it has drained. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { type CliProcess, endAll, runCli, until } from './cli/cli-process.ts'
import { startNodeProcess } from './cli/start-node.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

let server: TestServer
let folder: WorkflowFolder

beforeAll(async () => {
  server = await startTestServer()
  folder = makeWorkflowFolder()
})
afterEach(endAll)
afterAll(async () => {
  await server?.stop()
  folder?.remove()
})

function startNode(name: string, monitor = '0'): CliProcess {
  const args = ['--monitor', monitor, '--name', name, '--checkpoint-every', '200ms']
  return startNodeProcess({ servers: server.url, folder, data: name, args })
}

/** Where the node says that it answers. */
async function urlOf(node: CliProcess): Promise<string> {
  await node.says('probes and metrics')
  return /http:\/\/[\d.:]+/.exec(node.stdout + node.stderr)?.[0] ?? ''
}

const get = async (url: string, init?: RequestInit): Promise<{ status: number; body: string }> => {
  const response = await fetch(url, init)
  return { status: response.status, body: await response.text() }
}

function valueOf(body: string, metric: string): number {
  return Number(new RegExp(`^${metric.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(body)?.[1])
}

describe('the monitor of a node', () => {
  it('is ready when the node takes part, counts what is applied, and shows how its partitions stand', async () => {
    const first = startNode('first')
    await first.says('the node is ready')
    const firstUrl = await urlOf(first)
    expect(firstUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(await get(`${firstUrl}/ready`)).toEqual({ status: 200, body: 'live\n' })
    const second = startNode('second')
    await second.says('the node is ready')
    const secondUrl = await urlOf(second)
    expect(await get(`${secondUrl}/ready`)).toEqual({ status: 200, body: 'live\n' })

    for (let i = 0; i < 3; i++)
      await runCli(['signal', 'counter', 'a', 'add', '{"n":1}', '--wait', 'applied'], {
        env: { CARILLON_SERVERS: server.url },
      })
    // An engine in a process of its own tells how it is doing every now and then.
    let body = ''
    await until(async () => {
      body = (await get(`${firstUrl}/metrics`)).body
      return valueOf(body, 'carillon_inputs_applied_total') === 3
    }, 'three inputs are counted')
    expect(valueOf(body, 'carillon_peers')).toBe(1)
    expect(valueOf(body, 'carillon_partitions_taken_total')).toBe(64)
    expect(valueOf(body, 'carillon_journal_unapplied')).toBe(0)
    expect(valueOf(body, 'carillon_applied_seq')).toBeGreaterThanOrEqual(3)
    expect(valueOf(body, 'carillon_resident_instances')).toBe(1)
    expect(valueOf(body, 'carillon_phase{phase="live"}')).toBe(1)
    expect(valueOf(body, 'nodejs_eventloop_lag_seconds')).toBeGreaterThanOrEqual(0)
    // All of them are hosted twice: by the owner, and by the other one.
    await until(async () => {
      const { body: metrics } = await get(`${secondUrl}/metrics`)
      return (
        valueOf(metrics, 'carillon_partitions{role="owner"}') +
          valueOf(metrics, 'carillon_partitions{role="standby"}') ===
        64
      )
    }, 'the second node hosts all partitions')

    const partition = 'carillon_checkpoint_covered_seq{partition="0"}'
    // It may have moved to the other one by now.
    const metrics = async (): Promise<string> =>
      (await Promise.all([firstUrl, secondUrl].map((url) => get(`${url}/metrics`)))).map((one) => one.body).join('\n')
    await until(async () => valueOf(await metrics(), partition) >= 3, 'the partition is saved')
    const saved = await metrics()
    expect(valueOf(saved, 'carillon_checkpoint_age_seconds{partition="0"}')).toBeLessThan(60)
    expect(valueOf(saved, 'carillon_checkpoint_bytes_total')).toBeGreaterThan(0)
    expect(valueOf(saved, 'carillon_journal_trimmed_total')).toBe(0)

    first.signal('SIGKILL')
    await until(
      async () => valueOf((await get(`${secondUrl}/metrics`)).body, 'carillon_partitions{role="owner"}') === 64,
      'the second node owns all partitions',
    )
  }, 60_000)

  it('answers only what it knows, to GET only', async () => {
    const node = startNode('third')
    const url = await urlOf(node)
    expect((await get(`${url}/nothing`)).status).toBe(404)
    expect((await get(`${url}/live`, { method: 'POST', body: 'x' })).status).toBe(405)
    const other = startNode('fourth', new URL(url).host)
    expect((await other.end()).stderr).toMatch(
      /CONFIG_INVALID: cannot listen on 127\.0\.0\.1:\d+ .*give another --monitor/,
    )
  })
})
