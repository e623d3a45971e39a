import { describe, expect, it } from 'vitest'

import { effectKey, type EffectId } from '../core/index.ts'
import type { InstanceKey, Partition } from '../protocol/index.ts'
import { NO_BYTES } from '../protocol/index.ts'
import { MemoryDisk, MemoryStore } from '../testing/memory-store.ts'
import { encodePending, type OutgoingSend } from './pending-effect.ts'
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
    const pending = new PendingEffects(PARTITION, store, ({ id }) => {
      if (hasRoom) admitted.push(id)
      return hasRoom
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
