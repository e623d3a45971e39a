import { fileURLToPath } from 'node:url'

import { afterEach, expect, it, vi } from 'vitest'

import { DemoProcess } from './demo-process.ts'

const DEMO = fileURLToPath(new URL('cluster-demo.ts', import.meta.url))
const ARGS = ['--lines-per-second', '110', '--frozen-ms', '4000', '--statements', '* * * * * *', '--spread', '500 ms']
const LINES = 2200
let demo: DemoProcess

afterEach(() => demo.close())

it(
  'loses and doubles nothing when nodes of a cluster are killed, frozen and drained, and accepts every signal meanwhile',
  { timeout: 120_000 },
  async () => {
    demo = await DemoProcess.start(DEMO, LINES, ARGS)
    const exitCode = await demo.end()
    expect(demo.output).toContain('equal: yes, lost: 0, doubled: 0')
    for (const kind of ['killed', 'frozen', 'drained']) {
      expect(demo.output).toMatch(new RegExp(`${kind} +node-\\d +\\d+ +\\d+ ms +\\d+ ms +\\d+ ms`))
      expect(demo.output).toMatch(new RegExp(`${kind} +\\d+ +\\d+ ms\\n`))
    }
    expect(exitCode).toBe(0)
    expect(await demo.processes()).toEqual([])
    expect(await demo.leftovers()).toEqual([])
  },
)

it(
  'takes its nodes and nats-servers with it, a frozen one too, when it is killed itself',
  { timeout: 90_000 },
  async () => {
    demo = await DemoProcess.start(DEMO, LINES, [...ARGS, '--frozen-ms', '60000'])
    await vi.waitFor(() => expect(demo.output).toContain('is frozen with SIGSTOP'), { timeout: 60_000 })
    expect((await demo.processes()).length).toBeGreaterThanOrEqual(5)
    demo.signal('SIGKILL')
    await demo.end()
    await vi.waitFor(async () => expect(await demo.processes()).toEqual([]), { timeout: 10_000 })
  },
)
