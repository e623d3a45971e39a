/**
 * An operator: two versions go over fifteen hosts each. Both rollouts are paused in the middle; one goes on, the other is rolled back.
 *
 *     tsx producer.ts [servers]
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'

import { connect, type WorkflowHandle } from '@carillon/client'

import { Deployment, type Outcome, type Progress } from './contract.ts'

type Rollout = WorkflowHandle<typeof Deployment.shape>

const HOSTS = Array.from({ length: 15 }, (_, i) => `host-${i + 1}`)

const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
const run = Date.now().toString(36)

const goesOn = await startAndPause(carillon.workflow(Deployment, `goes-on-${run}`))
await goesOn.signal('continue')
const rolledOut = await endOf(goesOn)
assert.equal(rolledOut.outcome, 'rolled-out')
assert.deepEqual(new Set(rolledOut.hosts), new Set(HOSTS))

const goesBack = await startAndPause(carillon.workflow(Deployment, `goes-back-${run}`))
const { done } = await goesBack.query('progress')
await goesBack.signal('rollback', undefined, { wait: 'applied' })
const rolledBack = await endOf(goesBack)
assert.deepEqual(rolledBack, { outcome: 'rolled-back', hosts: done.toReversed() })
await carillon.close()

/** Pauses when three hosts are done, and waits until those under way are. */
async function startAndPause(rollout: Rollout): Promise<Rollout> {
  await rollout.start({ version: '2.0', previous: '1.9', hosts: HOSTS, width: 3 })
  await until(rollout, 'three hosts are done', ({ done: hosts }) => hosts.length >= 3)
  await rollout.signal('pause', undefined, { wait: 'applied' })
  say(rollout.id, 'pause is wanted', await rollout.query('progress'))
  await until(rollout, 'nothing is under way', ({ running }) => running.length === 0)
  const paused = await rollout.query('progress')
  say(rollout.id, 'paused', paused)
  assert.equal(paused.phase, 'paused')
  assert.ok(paused.waiting > 0)
  return rollout
}

async function endOf(rollout: Rollout): Promise<Outcome> {
  const end = await rollout.result({ timeoutMs: 120_000 })
  process.stdout.write(`${rollout.id}: ${end.outcome}: ${end.hosts.join(', ')}\n`)
  return end
}

async function until(rollout: Rollout, what: string, isSo: (progress: Progress) => boolean): Promise<void> {
  const deadlineMs = performance.now() + 60_000
  while (!isSo(await rollout.query('progress'))) {
    assert.ok(performance.now() < deadlineMs, `${what}: not within a minute`)
    await delay(20)
  }
}

function say(id: string, what: string, { done: hosts, running, failed, waiting }: Progress): void {
  process.stdout.write(
    `${id}: ${what}: ${hosts.length} done, under way ${running.join(' ') || 'none'}, ${failed.length} failed, ${waiting} waiting\n`,
  )
}
