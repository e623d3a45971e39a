import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { effectKey, type EffectId } from '../core/index.ts'
import type { Write } from '../ports/index.ts'
import type { InstanceKey, Partition } from '../protocol/index.ts'
import { NO_BYTES } from '../protocol/index.ts'
import { MemoryDisk, MemoryStore } from '../testing/memory-store.ts'
import { encodePending, type OutgoingSend, type PendingEffect } from './pending-effect.ts'
import { PendingEffects } from './pending-effects.ts'

const PARTITION = 3 as Partition
const KEY = 'a.b' as InstanceKey

function send(id: EffectId): OutgoingSend {
  return { kind: 'send', key: KEY, id, target: KEY, inputKind: 'signal', name: 'x', payload: NO_BYTES }
}

describe('the pending effects of a partition', () => {
  it('that an instance asks for late, when it is resumed, go in front of its next ones', async () => {
    const store = new MemoryStore({ disk: new MemoryDisk() })
    const admitted: string[] = []
    let hasRoom = true
    const pending = new PendingEffects({
      partition: PARTITION,
      store,
      admit: ({ id }) => {
        if (hasRoom) admitted.push(id)
        return hasRoom
      },
      laneOf: ({ kind }) => kind,
    })
    pending.refill()
    pending.add(send('20.0'))
    hasRoom = false
    pending.add(send('10.0'))
    pending.add(send('11.0'))
    hasRoom = true
    pending.add(send('30.0'))
    expect(admitted).toEqual(['20.0'])
    await store.commit([
      { table: 'effect', key: effectKey(PARTITION, '30.0', KEY), value: encodePending(send('30.0')) },
    ])
    pending.refill()
    expect(admitted).toEqual(['20.0', '10.0', '11.0', '30.0'])
  })
})

describe('lanes of pending effects', () => {
  /** What a program of additions, commits, ends and changes of room comes to. */
  it('lose nothing, keep their order, and do not wait for each other', async () => {
    const lanes = ['a', 'b', 'c'] as const
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), lane: fc.constantFrom(...lanes) }),
      fc.record({ kind: fc.constant('late' as const), lane: fc.constantFrom(...lanes) }),
      fc.record({ kind: fc.constant('commit' as const) }),
      fc.record({ kind: fc.constant('room' as const), lane: fc.constantFrom(...lanes), room: fc.nat(4) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { size: 'max', maxLength: 80 }), fc.nat(5), async (steps, stored) => {
        const store = new MemoryStore({ disk: new MemoryDisk() })
        const room = new Map<string, number>()
        const admitted = new Map<string, string[]>(lanes.map((lane) => [lane, []]))
        const given = new Map<string, string[]>(lanes.map((lane) => [lane, []]))
        const lateIds = new Set<string>()
        const laneOf = (effect: PendingEffect): string => (effect.kind === 'send' ? effect.name : '')
        const pending = new PendingEffects({
          partition: PARTITION,
          store,
          admit(effect) {
            const lane = laneOf(effect)
            if ((room.get(lane) ?? 0) === 0) return false
            room.set(lane, (room.get(lane) ?? 0) - 1)
            admitted.get(lane)?.push(effect.id)
            return true
          },
          laneOf,
        })
        let writes: Write[] = []
        const give = (id: EffectId, lane: string, isStored: boolean): void => {
          const effect = { ...send(id), name: lane }
          given.get(lane)?.push(id)
          writes.push({ table: 'effect', key: effectKey(PARTITION, id, KEY), value: encodePending(effect) })
          if (!isStored) pending.add(effect)
        }
        const commit = async (): Promise<void> => {
          await store.commit(writes)
          writes = []
          while (pending.refill());
        }
        for (let i = 0; i < stored * 90; i++) give(`${i + 1}.0`, lanes[i % 3] as string, true)
        await commit()
        let seq = 10_000
        let late = 1000
        for (const one of steps) {
          if (one.kind === 'add') give(`${seq++}.0`, one.lane, false)
          if (one.kind === 'late') {
            lateIds.add(`${late}.0`)
            give(`${late++}.0`, one.lane, false)
          }
          if (one.kind === 'commit') await commit()
          if (one.kind === 'room') {
            room.set(one.lane, one.room)
            await commit()
          }
        }
        await commit()
        for (const lane of lanes) {
          room.set(lane, Infinity)
          await commit()
          const all = given.get(lane) ?? []
          expect(admitted.get(lane)?.toSorted()).toEqual(all.toSorted())
          const inTurn = (ids: readonly string[]): readonly string[] => ids.filter((id) => !lateIds.has(id))
          expect(inTurn(admitted.get(lane) ?? [])).toEqual(inTurn(all))
        }
      }),
      { numRuns: 200 },
    )
  })
})
