/** `carillon dev`: a server and a node in one tree, anew at each change, and nothing left behind. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { provideNatsServer } from '../../../scripts/nats-server.mjs'
import { freePort } from '../src/nats-process.ts'
import {
  type CliEnd,
  type CliOptions,
  type CliProcess,
  stopAll,
  errorLine,
  runCli,
  startCli,
  until,
} from './cli/cli-process.ts'
import { commandOf, processesIn } from './cli/processes.ts'
import { COUNTER, makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

let natsServer: string
let folder: WorkflowFolder
let url: string

beforeAll(async () => {
  natsServer = (await provideNatsServer()).path
})
beforeEach(() => {
  folder = makeWorkflowFolder()
})
afterEach(async () => {
  await stopAll()
  await nothingIsLeft()
  folder.remove()
})

/** Dev on a free port; ready, unless told otherwise. */
async function dev(args: readonly string[] = [], options: CliOptions = {}): Promise<CliProcess> {
  const port = await freePort()
  url = `nats://127.0.0.1:${port}`
  return startCli(['dev', '--port', String(port), ...args], {
    cwd: folder.path,
    ...options,
    env: { CARILLON_NATS_SERVER: natsServer, ...options.env },
  })
}

async function readyDev(args?: readonly string[], options?: CliOptions): Promise<CliProcess> {
  const started = await dev(args, options)
  await started.says('ready: counter at')
  return started
}

function carillon(...args: string[]): Promise<CliEnd> {
  return runCli(args, { env: { CARILLON_SERVERS: url } })
}

async function total(): Promise<number> {
  return Number((await carillon('query', 'counter', 'a', 'total')).stdout)
}

function edit(from: string, to: string): void {
  const text = readFileSync(folder.file('workflow.ts'), 'utf8')
  expect(text).toContain(from)
  folder.write('workflow.ts', text.replace(from, to))
}

describe('carillon dev', () => {
  it('runs workflow.ts, says how to send a first signal, and that works', async () => {
    const started = await readyDev()
    expect(started.stdout).toContain(`carillon signal counter my-1 add '{}' --wait applied --servers ${url}`)
    expect(started.stdout).toContain(`nats pub -s ${url} carillon.signal.counter.my-1.add '{}'`)
    expect((await carillon('signal', 'counter', 'a', 'add', '{"n": 2}', '--wait', 'applied')).code).toBe(0)
    expect(await total()).toBe(2)
  })

  it('starts the node anew when the file changes, with its state', async () => {
    const started = await readyDev()
    await carillon('signal', 'counter', 'a', 'add', '{"n": 2}')
    expect(await total()).toBe(2)
    edit('ctx.state.total += n', 'ctx.state.total += n * 100')
    await started.says('ready again')
    await carillon('signal', 'counter', 'a', 'add', '{"n": 3}')
    expect(await total()).toBe(302)
  })

  it('starts it anew when a file that it imports changes, in a folder that is new, too', async () => {
    const started = await readyDev()
    folder.write('rules/factor.ts', 'export const factor: number = 10')
    edit('interface Add', "import { factor } from './rules/factor.ts'\ninterface Add")
    edit('ctx.state.total += n', 'ctx.state.total += n * factor')
    await started.says('ready again')
    folder.write('rules/factor.ts', 'export const factor: number = 1000')
    await started.says('ready again', 2)
    await carillon('signal', 'counter', 'a', 'add', '{"n": 1}')
    expect(await total()).toBe(1000)
  })

  it('shows what does not compile, and goes on at the next change', async () => {
    const started = await readyDev()
    folder.write('workflow.ts', 'const x: = 3')
    await started.says('error INVALID_DEFINITION: workflow.ts does not compile')
    await started.says('waiting for a change')
    expect(started.stderr).toContain('workflow.ts:1:9')
    folder.write('workflow.ts', COUNTER)
    await started.says('ready again')
  })

  it('starts with a file that does not compile', async () => {
    folder.write('workflow.ts', 'const x: = 3')
    const started = await dev()
    await started.says('waiting for a change')
    expect(started.stdout).toBe('')
    folder.write('workflow.ts', COUNTER)
    await started.says('ready: counter at')
  })

  it('keeps the data between runs', async () => {
    const first = await readyDev()
    await carillon('signal', 'counter', 'a', 'add', '{"n": 2}', '--wait', 'applied')
    expect((await first.stop()).code).toBe(0)
    await readyDev()
    expect(await total()).toBe(2)
    expect(readFileSync(folder.file('.carillon/.gitignore'), 'utf8')).toBe('*\n')
  })

  it('tells programs with --json', async () => {
    const started = await dev(['--json', 'workflow.ts'])
    await started.says('"event":"ready"')
    expect(JSON.parse(started.stdout)).toMatchObject({
      event: 'ready',
      url,
      namespace: 'carillon',
      workflows: [{ type: 'counter', startOnSignal: true }],
    })
  })
})

describe('carillon dev is refused', () => {
  it('without a workflow file', async () => {
    const end = await runCli(['dev', 'gone.ts'], { cwd: folder.path })
    expect(end.code).toBe(2)
    expect(errorLine(end)).toMatch(/^error CONFIG_INVALID: the workflow file gone\.ts does not exist/)
    mkdirSync(folder.file('empty'))
    expect(errorLine(await runCli(['dev'], { cwd: folder.file('empty') }))).toMatch(
      /^error CONFIG_INVALID: no workflow file is given.*carillon dev my-workflow\.ts/,
    )
  })

  it('without a nats-server, with how to get one', async () => {
    const env = { CARILLON_NATS_SERVER: '', PATH: '/nowhere', XDG_CACHE_HOME: folder.path }
    const end = await runCli(['dev'], { cwd: folder.path, env: { ...env, CARILLON_NATS_SERVER: folder.file('gone') } })
    expect(end.code).toBe(2)
    expect(errorLine(end)).toMatch(
      /^error CONFIG_INVALID: CARILLON_NATS_SERVER=.*gone does not run as a nats-server: install it .*brew install nats-server/,
    )
  })

  it('with a nats-server that is too old', async () => {
    writeFileSync(folder.file('old-nats'), '#!/bin/sh\necho "nats-server: v2.9.10"\n')
    chmodSync(folder.file('old-nats'), 0o755)
    const end = await runCli(['dev'], { cwd: folder.path, env: { CARILLON_NATS_SERVER: folder.file('old-nats') } })
    expect(end.code).toBe(4)
    expect(errorLine(end)).toMatch(/^error SERVER_TOO_OLD: .*old-nats is version 2\.9\.10, and 2\.12\.0 is the oldest/)
  })

  it('when another one has the folder', async () => {
    await readyDev()
    const end = await runCli(['dev'], { cwd: folder.path, env: { CARILLON_NATS_SERVER: natsServer } })
    expect(end.code).toBe(5)
    expect(errorLine(end)).toMatch(/^error DATA_IN_USE: .*\.carillon is in use by process \d+/)
  })

  it('on a port that is taken; without --port it takes a free one and says which', async () => {
    const taken = await listen(await freePort())
    const usual = await listen(4222).catch(() => undefined)
    try {
      const { port } = taken.address() as { port: number }
      const env = { CARILLON_NATS_SERVER: natsServer }
      const end = await runCli(['dev', '--port', String(port)], { cwd: folder.path, env })
      expect(end.code).toBe(2)
      expect(errorLine(end)).toMatch(new RegExp(`^error CONFIG_INVALID: port ${port} cannot be listened on`))
      const started = startCli(['dev'], { cwd: folder.path, env })
      await started.says('ready: counter at')
      expect(started.stderr).toMatch(/"port":(\d+),"msg":"port 4222 is taken: nats-server listens on \1"/)
    } finally {
      taken.close()
      usual?.close()
    }
  })
})

describe('when carillon dev ends', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('by %s, the node drains, and nothing is left', async (name) => {
    const started = await readyDev()
    expect(processesIn(folder.path).length).toBeGreaterThan(1)
    started.signal(name)
    const { code, stderr } = await started.end()
    expect(code).toBe(0)
    expect(stderr).toContain('"msg":"drained"')
    await nothingIsLeft()
  })

  it('by a second SIGINT, it ends at once, and nothing is left', async () => {
    const started = await readyDev()
    await carillon('signal', 'counter', 'a', 'spin')
    await started.says('spinning')
    started.signal('SIGINT')
    await started.says('"msg":"stopping"')
    started.signal('SIGINT')
    expect(await started.exited).toBe(130)
    await nothingIsLeft()
  })

  it('by SIGKILL, the node drains by itself, and nothing is left', async () => {
    const started = await readyDev()
    await carillon('signal', 'counter', 'a', 'add', '{"n": 2}', '--wait', 'applied')
    started.signal('SIGKILL')
    await started.exited
    await nothingIsLeft()
    expect(existsSync(folder.file('.carillon/node/node-status.json'))).toBe(false)
    await readyDev()
    expect(await total()).toBe(2)
  })

  it('by SIGKILL, not even a node whose handler never returns is left', async () => {
    const started = await readyDev()
    await carillon('signal', 'counter', 'a', 'spin')
    await started.says('spinning')
    started.signal('SIGKILL')
    expect(await started.exited).toBe(137)
    await nothingIsLeft()
  })

  it('because its nats-server has ended, it says so: 3', async () => {
    const started = await readyDev()
    const server = processesIn(folder.path).find((pid) => commandOf(pid).includes('nats-server.conf'))
    process.kill(server ?? 0, 'SIGKILL')
    const end = await started.end()
    expect(end.code).toBe(3)
    expect(end.stderr).toMatch(/^error SERVER_UNREACHABLE: the nats-server of carillon dev has ended/m)
  })
})

async function nothingIsLeft(): Promise<void> {
  const left = (): readonly number[] => processesIn(folder.path)
  await until(
    () => left().length === 0,
    () => `the end of ${left().map(commandOf).join(', ')}`,
  )
}

async function listen(port: number): Promise<Server> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
  return server
}
