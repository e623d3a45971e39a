/** The reader of the feed. `tsx producer.ts [servers]` sends an example feed to `carillon dev`. */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { type Carillon, connect } from '@carillon/client'
import type { Contract } from '@carillon/runtime'

import { ANSWER_MS, type Message, type Progress, UserSync } from './contract.ts'

export interface FeedItem extends Message {
  readonly user: string
}

/** What the reader needs of a client. */
export interface Users {
  workflow(
    contract: Contract<typeof UserSync.shape>,
    user: string,
  ): {
    signal(name: 'message', message: Message, options: { readonly id: string }): Promise<unknown>
  }
}

/**
 * Reads all lanes of a feed at once. An item that a lane delivers twice counts once: its message's id is the input's.
 *
 * Messages of one user that come in one lane keep their order. Between lanes, the order in which they are accepted counts.
 */
export async function readFeed(
  users: Users,
  lanes: readonly (Iterable<FeedItem> | AsyncIterable<FeedItem>)[],
): Promise<void> {
  await Promise.all(lanes.map((lane) => readLane(users, lane)))
}

async function readLane(users: Users, lane: Iterable<FeedItem> | AsyncIterable<FeedItem>): Promise<void> {
  for await (const { user, messageId, text } of lane) {
    await users.workflow(UserSync, user).signal('message', { messageId, text }, { id: messageId })
  }
}

const LANES = 4
const USERS = 8
/** Of one lane to one user. */
const MESSAGES = 5

if (process.argv[1] === fileURLToPath(import.meta.url)) await sendAndLook(process.argv[2] ?? 'nats://127.0.0.1:4222')

/** Four lanes at once, each with messages of eight users, one of them twice; then what came of it. */
async function sendAndLook(servers: string): Promise<void> {
  const carillon = await connect({ servers })
  const run = Date.now().toString(36)
  const lanes = Array.from({ length: LANES }, (_, i) => laneOf(run, i + 1))
  const startedMs = performance.now()
  await readFeed(carillon, lanes)
  const acceptedMs = performance.now() - startedMs
  const items = lanes.flat().length
  say(
    `${items} items of ${LANES} lanes, ${LANES} of them delivered twice, are durable after ${acceptedMs.toFixed(0)} ms`,
  )

  const perUser = LANES * MESSAGES
  for (let user = 0; user < USERS; user++) {
    const { delivered, recent } = await untilDelivered(carillon, `user-${user}-${run}`, perUser)
    assert.equal(delivered, perUser)
    assert.equal(new Set(recent).size, perUser)
    for (const lane of lanes) {
      const inOrder = [
        ...new Set(lane.filter((item) => item.user === `user-${user}-${run}`).map((item) => item.messageId)),
      ]
      assert.deepEqual(
        recent.filter((id) => inOrder.includes(id)),
        inOrder,
      )
    }
    if (user === 0) say(`user-0 got, in the order in which they were accepted: ${recent.join(' ')}`)
  }
  const tookMs = performance.now() - startedMs
  const oneByOneMs = perUser * ANSWER_MS
  say(`${USERS} users got ${perUser} messages each, every lane's in order, within ${tookMs.toFixed(0)} ms;`)
  say(
    `one user alone takes ${oneByOneMs} ms, one after the other, and all users in a row would ${USERS * oneByOneMs} ms`,
  )
  assert.ok(tookMs >= oneByOneMs, 'messages of one user were delivered side by side')
  assert.ok(tookMs < USERS * oneByOneMs, 'users waited for each other')
  await carillon.close()
}

function laneOf(run: string, lane: number): FeedItem[] {
  const items = Array.from({ length: USERS * MESSAGES }, (_, i) => ({
    user: `user-${i % USERS}-${run}`,
    messageId: `${lane}.${Math.floor(i / USERS)}-of-${i % USERS}`,
    text: `message ${i} of lane ${lane}`,
  }))
  // The lane delivers its third item again, a little later.
  return items.toSpliced(10, 0, ...items.slice(2, 3))
}

async function untilDelivered(carillon: Carillon, user: string, count: number): Promise<Progress> {
  const deadlineMs = performance.now() + 30_000
  for (;;) {
    // This handle has sent nothing: where the node is behind, it may not know the user yet.
    const progress = await carillon
      .workflow(UserSync, user)
      .query('progress')
      .catch(() => undefined)
    if (progress !== undefined && progress.delivered >= count) return progress
    assert.ok(
      performance.now() < deadlineMs,
      `${user} got ${progress?.delivered} of ${count} messages within 30 seconds`,
    )
    await delay(20)
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
