/**
 * An office: jobs that share one printer, one of which dies with the lock in its hand, and jobs that share three plotters.
 *
 *     tsx producer.ts [servers]
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'

import { connect } from '@carillon/client'

import { Mutex, type MutexStatus, PrintJob, type Printed } from './contract.ts'

const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
const run = Date.now().toString(36)
const jobOf = (name: string) => carillon.workflow(PrintJob, `${name}-${run}`)

const printer = `printer-${run}`
say('five jobs want one printer; "dies" will be terminated while it prints; "hurries" waits for 800 ms only')
await ask('dies', { printer, pages: 50, leaseMs: 1000 }, ({ holders }) => holders.length === 1)
await ask('second', { printer, pages: 2 }, ({ waiting }) => waiting.length === 1)
await ask('third', { printer, pages: 2, asksTwice: true }, ({ waiting }) => waiting.length === 2)
await ask('hurries', { printer, pages: 1, patienceMs: 800 }, ({ waiting }) => waiting.length === 3)
await ask('fourth', { printer, pages: 1 }, ({ waiting }) => waiting.length >= 3)
await jobOf('dies').terminate('the plug was pulled')

const [second, third, hurries, fourth] = [
  await resultOf('second'),
  await resultOf('third'),
  await resultOf('hurries'),
  await resultOf('fourth'),
]
assert.deepEqual([second.fence, third.fence, fourth.fence], [2, 3, 4], 'they had it in the order in which they asked')
assert.equal(third.refused, `you have or wait for ${printer} already`)
assert.equal(hurries.outcome, 'gave-up')

const plotters = `plotters-${run}`
say('six jobs want three plotters')
await carillon.workflow(Mutex, plotters).start({ permits: 3 })
const names = ['p1', 'p2', 'p3', 'p4', 'p5', 'p6']
for (const name of names) await jobOf(name).start({ printer: plotters, pages: 3 })
await until(plotters, ({ holders, waiting }) => holders.length === 3 && waiting.length === 3)
for (const name of names) assert.equal((await resultOf(name)).outcome, 'printed')

for (const thing of [printer, plotters]) {
  await until(thing, ({ holders, waiting }) => holders.length + waiting.length === 0)
  say(`nobody has ${thing} or waits for it`)
}
await carillon.close()

/** Starts a job, and waits until the printer's mutex says that it has asked: so it is known who came first. */
async function ask(
  name: string,
  input: Parameters<ReturnType<typeof jobOf>['start']>[0],
  isSo: (status: MutexStatus) => boolean,
): Promise<void> {
  await jobOf(name).start(input)
  const { holders, waiting } = await until(printer, isSo)
  const list = (all: readonly { readonly by: { readonly id: string } }[]): string =>
    all.map(({ by }) => by.id).join(', ') || 'nobody'
  say(`${name} has asked: ${list(holders)} has it, ${list(waiting)} waits`)
}

async function resultOf(name: string): Promise<Printed> {
  const result = await jobOf(name).result({ timeoutMs: 30_000 })
  say(
    `${name}: ${result.outcome}${result.fence === undefined ? '' : `, fence ${result.fence}`}${result.refused === undefined ? '' : `; was told: ${result.refused}`}`,
  )
  return result
}

async function until(name: string, isSo: (status: MutexStatus) => boolean): Promise<MutexStatus> {
  const deadlineMs = performance.now() + 20_000
  for (;;) {
    const status = await carillon
      .workflow(Mutex, name)
      .query('status')
      .catch(() => undefined)
    if (status !== undefined && isSo(status)) return status
    assert.ok(performance.now() < deadlineMs, `not within 20 seconds: ${isSo.toString()} of ${JSON.stringify(status)}`)
    await delay(20)
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
