/**
 * An operator: makes a schedule, lets it run, pauses it, triggers it, changes it, makes up for the past, and removes it.
 *
 *     tsx producer.ts [servers]
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'

import { connect } from '@carillon/client'

import { Report, Schedule, type ScheduleStatus } from './contract.ts'

const WITHIN_MS = 30_000

const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
const name = `stock-${Date.now().toString(36)}`
const stock = carillon.workflow(Schedule, name)

const { next } = await stock.update('set', {
  cron: '* * * * * *',
  timeZone: 'Europe/Berlin',
  overlap: 'queue',
  report: 'stock',
})
say(`set to every second; next: ${next.slice(0, 3).map(formatMoment).join(', ')}`)
const running = await until('two reports', ({ ended }) => ended.length >= 2)
assert.deepEqual(
  running.ended.slice(0, 2).map(({ asOf }) => Date.parse(asOf)),
  next.slice(0, 2),
)

await stock.signal('pause', { because: 'stocktaking' }, { wait: 'applied' })
const paused = await stock.query('status')
assert.equal(paused.nextMs, undefined)
say(`paused because of ${paused.pausedBecause}, after ${paused.ended.length} reports`)

await stock.signal('run', { moment: Date.parse('2026-01-01T00:00Z') }, { wait: 'applied' })
const triggered = await stock.query('status')
assert.equal(triggered.ended.at(-1)?.asOf, '2026-01-01T00:00:00.000Z')
say(`triggered: ${triggered.ended.at(-1)?.asOf}: ${triggered.ended.at(-1)?.outcome}`)

await assert.rejects(stock.update('set', { cron: '0 0 30 2 *', report: 'stock' }), { code: 'INVALID_PAYLOAD' })
say('a pattern for 30 February is refused')
const monthly = await stock.update('set', {
  cron: '0 9 1 * *',
  timeZone: 'Europe/Berlin',
  overlap: 'queue',
  report: 'stock',
})
say(`changed to monthly; next: ${monthly.next.slice(0, 3).map(formatMoment).join(', ')}`)

const past = { afterMs: Date.parse('2026-02-15T00:00Z'), untilMs: Date.parse('2026-05-15T00:00Z') }
const { moments } = await stock.update('backfill', past)
const filled = await until(
  'the past',
  ({ ended }) => ended.at(-1)?.asOf === new Date(moments.at(-1) ?? 0).toISOString(),
)
assert.deepEqual(
  filled.ended.slice(-3).map(({ asOf }) => asOf),
  ['2026-03-01T08:00:00.000Z', '2026-04-01T07:00:00.000Z', '2026-05-01T07:00:00.000Z'],
)
say(
  `made up for: ${filled.ended
    .slice(-3)
    .map(({ asOf, outcome }) => `${asOf} ${outcome}`)
    .join(', ')}`,
)
assert.deepEqual(await carillon.workflow(Report, `${name} ${filled.ended.at(-1)?.asOf}`).result(), { rows: 1 })

await stock.signal('resume')
await stock.signal('remove')
await stock.result()
say('removed')
await carillon.close()

async function until(what: string, isSo: (status: ScheduleStatus) => boolean): Promise<ScheduleStatus> {
  const deadlineMs = performance.now() + WITHIN_MS
  for (;;) {
    const status = await stock.query('status')
    if (isSo(status)) return status
    assert.ok(performance.now() < deadlineMs, `${what}: not within ${WITHIN_MS} ms`)
    await delay(20)
  }
}

function formatMoment(ms: number): string {
  return new Date(ms).toISOString()
}

function say(text: string): void {
  process.stdout.write(`${name}: ${text}\n`)
}
