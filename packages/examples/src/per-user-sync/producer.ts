/** The reader of the feed. `node --import tsx producer.ts [servers]` sends an example feed to `carillon dev`. */
import { fileURLToPath } from 'node:url'

import { connect } from '@carillon/client'
import type { Contract } from '@carillon/runtime'

import { type Message, UserSync } from './contract.ts'

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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const carillon = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' })
  const lane = (number: number): FeedItem[] =>
    Array.from({ length: 40 }, (_, i) => ({
      user: `user-${i % 8}`,
      messageId: `lane-${number}-${i}`,
      text: `message ${i} of lane ${number}`,
    }))
  await readFeed(carillon, [lane(1), lane(2), lane(3), lane(4)])
  await carillon.close()
  process.stdout.write('160 messages of 8 users are durable: each user gets 20, one by one\n')
}
