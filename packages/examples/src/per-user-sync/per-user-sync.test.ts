import { setTimeout as delay } from 'node:timers/promises'

import { mockActivities } from '@carillon/runtime/testing'
import { expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { UserSync } from './contract.ts'
import { type FeedItem, readFeed } from './producer.ts'
import { userSyncActivities } from './activities.ts'
import { userSync } from './workflow.ts'

const USERS = ['ann', 'bob', 'eve', 'joe', 'zoe']
const LANES = 4
const PER_LANE = 3

/** Counts how many deliveries run at once. */
function watchedSystem() {
  const running = new Map<string, number>()
  const received = new Map<string, string[]>()
  let mostOfOne = 0
  let mostOfAll = 0
  const activities = mockActivities(UserSync, {
    async deliver({ messageId }, { workflow }) {
      const { id } = workflow
      running.set(id, (running.get(id) ?? 0) + 1)
      mostOfOne = Math.max(mostOfOne, running.get(id) ?? 0)
      mostOfAll = Math.max(
        mostOfAll,
        [...running.values()].reduce((sum, count) => sum + count, 0),
      )
      await delay(2)
      running.set(id, (running.get(id) ?? 0) - 1)
      received.set(id, [...(received.get(id) ?? []), messageId])
    },
  })
  return { activities, received, most: () => ({ ofOne: mostOfOne, ofAll: mostOfAll }) }
}

/** Every lane holds messages of every user, and its second message twice. */
function lanes(): FeedItem[][] {
  return Array.from({ length: LANES }, (_, lane) =>
    Array.from({ length: PER_LANE }, (__, n) => n)
      .toSpliced(1, 0, 1)
      .flatMap((n) => USERS.map((user) => ({ user, messageId: `${user}-${lane}-${n}`, text: `${n}` }))),
  )
}

const setup = { workflows: [userSync], activities: [userSyncActivities] }

describeOnBothBackends('the sync of users', setup, (open) => {
  it('delivers one message of a user at a time, and users side by side', async () => {
    const { activities, received, most } = watchedSystem()
    const backend = await open({ activities: [activities] })
    await readFeed(backend, lanes())
    for (const user of USERS) {
      await backend.until(
        async () => (await backend.workflow(UserSync, user).query('progress')).delivered === LANES * PER_LANE,
      )
      const ids = received.get(user) ?? []
      expect(new Set(ids).size).toBe(LANES * PER_LANE)
      for (let lane = 0; lane < LANES; lane++)
        expect(ids.filter((id) => id.startsWith(`${user}-${lane}-`))).toEqual(
          Array.from({ length: PER_LANE }, (_, n) => `${user}-${lane}-${n}`),
        )
    }
    expect(most().ofOne).toBe(1)
    expect(most().ofAll).toBeGreaterThan(1)
  })

  it('holds back a user whose message fails, and nobody else', async () => {
    const { activities, received } = watchedSystem()
    const backend = await open({ activities: [activities] })
    const ann = backend.workflow(UserSync, 'ann')
    activities.hangNext('deliver')
    await ann.signal('message', { messageId: 'a1', text: 'stuck' })
    await backend.until(() => activities.calls('deliver').length === 1)
    await ann.signal('message', { messageId: 'a2', text: 'behind' })
    const bob = backend.workflow(UserSync, 'bob')
    await bob.signal('message', { messageId: 'b1', text: 'free' })
    await backend.until(async () => (await bob.query('progress')).delivered === 1)
    expect(received.get('ann')).toBeUndefined()
    expect((await ann.describe()).queued).toBe(1)
  })

  it('goes on in order after failures', async () => {
    const { activities, received } = watchedSystem()
    const backend = await open({ activities: [activities] })
    const ann = backend.workflow(UserSync, 'ann')
    activities.failNext('deliver', 2)
    for (const messageId of ['a1', 'a2', 'a3']) await ann.signal('message', { messageId, text: '' }, { id: messageId })
    await backend.until(async () => (await ann.query('progress')).delivered === 3)
    expect(received.get('ann')).toEqual(['a1', 'a2', 'a3'])
    expect(await ann.query('progress')).toEqual({ delivered: 3, recent: ['a1', 'a2', 'a3'] })
  })
})
