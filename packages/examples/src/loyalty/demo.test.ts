import { fileURLToPath } from 'node:url'

import { afterEach, expect, it, vi } from 'vitest'

import { DemoProcess } from './demo-process.ts'

const DEMO = fileURLToPath(new URL('demo.ts', import.meta.url))
const ARGS = ['--lines-per-second', '400', '--statements', '* * * * * *', '--spread', '500 ms']
const LINES = 1600
let demo: DemoProcess

afterEach(() => demo.close())

async function expectNothingLeft(): Promise<void> {
  expect(await demo.processes()).toEqual([])
  expect(await demo.leftovers()).toEqual([])
}

it(
  'loses and doubles nothing when the node is killed, says so, and leaves nothing behind',
  { timeout: 90_000 },
  async () => {
    demo = await DemoProcess.start(DEMO, LINES, ARGS)
    const exitCode = await demo.end()
    expect(demo.output).toContain('is killed with SIGKILL')
    expect(demo.output).toMatch(/from the kill to the next applied signal: \d+ ms/)
    expect(demo.output).toContain('equal: yes, lost: 0, doubled: 0')
    expect(exitCode).toBe(0)
    await expectNothingLeft()
  },
)

it('leaves nothing behind when it is stopped while the node is down', { timeout: 90_000 }, async () => {
  demo = await DemoProcess.start(DEMO, LINES, ARGS)
  await vi.waitFor(() => expect(demo.output).toContain('is killed with SIGKILL'), { timeout: 60_000 })
  demo.signal('SIGINT')
  expect(await demo.end()).toBe(130)
  await expectNothingLeft()
})

it('takes its node and its nats-server with it when it is killed itself', { timeout: 90_000 }, async () => {
  demo = await DemoProcess.start(DEMO, LINES, ARGS)
  await vi.waitFor(() => expect(demo.output).toContain('lines accepted'), { timeout: 60_000 })
  // Between its kill and its start again there is no node.
  await vi.waitFor(async () => expect((await demo.processes()).length).toBeGreaterThanOrEqual(2), { timeout: 10_000 })
  demo.signal('SIGKILL')
  await demo.end()
  await vi.waitFor(async () => expect(await demo.processes()).toEqual([]), { timeout: 10_000 })
})
