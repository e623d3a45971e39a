/**
 * A batch of 200 items, one that is cancelled, and one of 10,000.
 *
 *     tsx producer.ts [servers] [items]
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'

import { connect, type WorkflowHandle } from '@carillon/client'
import { hasCode } from '@carillon/runtime'

import { Batch, BigBatch, type Progress } from './contract.ts'

const [servers = 'nats://127.0.0.1:4222', count = '10000'] = process.argv.slice(2)
const total = Number(count)
const items = Array.from({ length: 200 }, (_, i) => `item-${i}`)

const carillon = await connect({ servers })
const run = Date.now().toString(36)
await small()
await cancelled()
await big()
await carillon.close()

async function small(): Promise<void> {
  const batch = carillon.workflow(Batch, `small-${run}`)
  await batch.start({ items, width: 20 })
  await untilProgress(batch, ({ done }) => done >= 60)
  const results = await batch.result({ timeoutMs: 30_000 })
  assert.deepEqual(
    results.map(({ item }) => item),
    items,
  )
  const failures = results.filter(({ ok }) => !ok)
  say(`200 items have ended, ${failures.length} have failed: ${JSON.stringify(failures[0])}, …`)
  assert.equal(failures.length, 2)
}

async function cancelled(): Promise<void> {
  const batch = carillon.workflow(Batch, `cancelled-${run}`)
  await batch.start({ items, width: 5 })
  await untilProgress(batch, ({ done }) => done >= 20)
  await batch.cancel('it is not needed any more')
  await assert.rejects(batch.result({ timeoutMs: 30_000 }), (error) => hasCode(error, 'CANCELLED'))
  const progress = await batch.query('progress')
  say(`cancelled: ${JSON.stringify(progress)}`)
  assert.ok(progress.done < items.length)
}

async function big(): Promise<void> {
  const batch = carillon.workflow(BigBatch, `big-${run}`)
  const startedMs = performance.now()
  await batch.start({ total, chunk: 500, chunksAtOnce: 4, width: 25 })
  const shown = setInterval(() => {
    batch.query('progress').then(
      ({ done, failed }) => say(`big: ${done + failed} of ${total}`),
      () => undefined,
    )
  }, 1000)
  const { done, failed, failures } = await batch.result({ timeoutMs: 600_000 }).finally(() => clearInterval(shown))
  const tookMs = performance.now() - startedMs
  say(
    `${total} items in chunks of 500, 100 at once: ${done} done, ${failed} failed, after ${(tookMs / 1000).toFixed(1)} s`,
  )
  assert.equal(done + failed, total)
  assert.equal(failed, Math.floor((total - 14) / 100) + 1)
  assert.equal(failures[0]?.item, 'item-13')
}

/** By the handle that has started it: it sees what it has sent. */
async function untilProgress(
  batch: WorkflowHandle<typeof Batch.shape>,
  isSo: (progress: Progress) => boolean,
): Promise<void> {
  const deadlineMs = performance.now() + 30_000
  for (;;) {
    const progress = await batch.query('progress')
    if (isSo(progress)) return say(`${batch.id}: ${JSON.stringify(progress)}`)
    assert.ok(performance.now() < deadlineMs, `${batch.id}: not within 30 seconds: ${isSo.toString()}`)
    await delay(20)
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
