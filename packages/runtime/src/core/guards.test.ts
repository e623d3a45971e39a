import { execFile, spawn } from 'node:child_process'
import { randomBytes, randomInt, randomUUID } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns'
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { get as getHttps } from 'node:https'
import { connect, createServer, Socket } from 'node:net'
import { hrtime, nextTick } from 'node:process'
import { setInterval as moduleInterval } from 'node:timers'
import { scheduler, setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'

import { describe, expect, it } from 'vitest'

import { defineWorkflow, implement, type } from '../index.ts'
import { BENCH_START_MS, InstanceBench } from '../testing/instance-bench.ts'
import { installGuards } from './guards.ts'

installGuards()

const Lab = defineWorkflow('lab', { signals: { run: type<string>() } })

/** Runs code inside a turn; gives what it returned, or the error that poisoned the turn. */
async function inTurn(code: () => unknown, seq = 1): Promise<unknown> {
  const lab = implement(Lab, {
    startOnSignal: true,
    state: () => ({ value: undefined as unknown }),
    on: { run: (ctx) => void (ctx.state.value = code()) },
  })
  const bench = new InstanceBench(lab)
  const result = await bench.signal('run', '', { seq, timeMs: BENCH_START_MS + seq })
  return result.kind === 'poisoned' ? result.error : (bench.state as { value: unknown }).value
}

const REFUSED: readonly (readonly [name: string, call: () => unknown, instead: RegExp])[] = [
  ['setTimeout', () => setTimeout(() => {}, 1), /ctx\.sleep/],
  ['setInterval', () => setInterval(() => {}, 1), /ctx\.sleep/],
  ['setImmediate', () => setImmediate(() => {}), /ctx\.sleep/],
  ['setInterval of node:timers', () => moduleInterval(() => {}, 1), /ctx\.sleep/],
  ['setTimeout of node:timers/promises', () => delay(1), /ctx\.sleep/],
  ['scheduler.wait', () => scheduler.wait(1), /ctx\.sleep/],
  ['process.nextTick', () => nextTick(() => {}), /await a ctx call/],
  ['fetch', () => fetch('http://127.0.0.1:1'), /activity/],
  ['readFileSync', () => readFileSync('/etc/hostname'), /activity/],
  ['existsSync', () => existsSync('/'), /activity/],
  ['readFile of node:fs/promises', () => readFile('/etc/hostname'), /activity/],
  ['http.request', () => request('http://127.0.0.1:1'), /activity/],
  ['https.get', () => getHttps('https://127.0.0.1:1'), /activity/],
  ['http2.connect', () => connectHttp2('http://127.0.0.1:1'), /activity/],
  ['net.connect', () => connect(1), /activity/],
  ['net.createServer', () => createServer(), /activity/],
  ['a socket made by hand', () => new Socket().connect(1), /activity/],
  ['tls.connect', () => connectTls(1), /activity/],
  ['dgram.createSocket', () => createSocket('udp4'), /activity/],
  ['dns.lookup', () => lookup('localhost', () => {}), /activity/],
  ['spawn', () => spawn('true'), /activity/],
  ['execFile', () => execFile('true'), /activity/],
  ['randomBytes', () => randomBytes(4), /ctx\.random/],
  ['randomInt', () => randomInt(4), /ctx\.random/],
]

describe('inside a turn', () => {
  it.each(REFUSED)('%s is refused, with the call to use instead', async (_, call, instead) => {
    const error = await inTurn(call)
    expect(error).toMatchObject({ code: 'NONDETERMINISTIC' })
    expect((error as Error).message).toMatch(instead)
  })

  it.each<readonly [string, () => unknown, unknown]>([
    ['Date.now', () => Date.now(), BENCH_START_MS + 1],
    ['new Date', () => new Date().getTime(), BENCH_START_MS + 1],
    [
      'the constructor of a Date',
      () => new (new Date(0).constructor as DateConstructor)().getTime(),
      BENCH_START_MS + 1,
    ],
    ['Date()', () => Date(), new Date(BENCH_START_MS + 1).toString()],
    ['new Date with a time', () => new Date(5).getTime(), 5],
    ['performance.now', () => performance.now(), BENCH_START_MS + 1],
    ['process.hrtime', () => hrtime(), [1000, 1_000_000]],
    ['process.hrtime.bigint', () => process.hrtime.bigint(), BigInt(BENCH_START_MS + 1) * 1_000_000n],
    ['process.uptime', () => process.uptime(), (BENCH_START_MS + 1) / 1000],
  ])('%s is the time of the input', async (_, read, expected) => {
    expect(await inTurn(read)).toEqual(expected)
  })

  it.each<readonly [string, () => unknown]>([
    ['Math.random', () => [Math.random(), Math.random()]],
    ['crypto.randomUUID', () => crypto.randomUUID()],
    ['randomUUID of node:crypto', () => randomUUID()],
    ['crypto.getRandomValues', () => crypto.getRandomValues(new Uint8Array(16))],
  ])('%s is the same whenever the turn is computed again, and another in another turn', async (_, draw) => {
    const first = await inTurn(draw)
    expect(await inTurn(draw)).toEqual(first)
    expect(await inTurn(draw, 2)).not.toEqual(first)
    expect(draw()).not.toEqual(draw())
  })

  it('a promisified host timer is refused as well', async () => {
    const lab = implement(Lab, {
      startOnSignal: true,
      state: () => ({}),
      on: { run: async () => promisify(setTimeout)(1) },
    })
    expect(await new InstanceBench(lab).signal('run', '')).toMatchObject({
      kind: 'poisoned',
      error: { code: 'NONDETERMINISTIC' },
    })
  })

  it('code behind an await is guarded as well', async () => {
    const lab = implement(Lab, {
      startOnSignal: true,
      state: () => ({ value: 0 }),
      on: {
        async run(ctx) {
          await Promise.resolve()
          ctx.state.value = Date.now()
          await Promise.resolve()
          readFileSync('/etc/hostname')
        },
      },
    })
    expect(await new InstanceBench(lab).signal('run', '')).toMatchObject({
      kind: 'poisoned',
      error: { code: 'NONDETERMINISTIC' },
    })
  })
})

describe('outside of turns', () => {
  it('everything is what it was: activities are normal code', async () => {
    expect(Math.abs(Date.now() - new Date().getTime())).toBeLessThan(1000)
    expect(Date.now()).toBeGreaterThan(1.6e12)
    expect(new Date(5)).toBeInstanceOf(Date)
    expect(Date.UTC(2020, 0)).toBe(1577836800000)
    expect(await delay(1, 'value')).toBe('value')
    expect(await promisify(setTimeout)(1, 'value')).toBe('value')
    expect(existsSync('/')).toBe(true)
    expect(await readFile(new URL(import.meta.url), 'utf8')).toContain('activities are normal code')
    expect(randomBytes(4)).toHaveLength(4)
    expect(randomInt(3, 4)).toBe(3)
    expect(typeof process.hrtime.bigint()).toBe('bigint')
    expect(process.hrtime()).toHaveLength(2)
    await new Promise<void>((resolve) => nextTick(resolve))
    const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1')
    await new Promise((resolve) => void server.once('listening', resolve))
    const socket = new Socket().connect((server.address() as { port: number }).port, '127.0.0.1')
    expect(String(await new Promise((resolve) => void socket.once('data', resolve)))).toBe('hello')
    socket.destroy()
    await new Promise((resolve) => void server.close(resolve))
  })
})
