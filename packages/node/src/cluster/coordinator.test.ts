import type { Partition } from '@carillon/runtime/protocol'
import { expect, it } from 'vitest'

import { Coordinator } from './coordinator.ts'
import type { HostedPartition } from './partition-host.ts'

const P = 3 as Partition
const nodeOf = (node: string): Coordinator =>
  new Coordinator(
    {
      node,
      incarnation: `${node}-life`,
      weight: 1,
      standbys: 1,
      build: '',
      sinceMs: 0,
      partitions: 8,
      aloneSinceMs: 0,
    },
    0,
  )
const owning: readonly HostedPartition[] = [{ partition: P, role: 'owner', appliedSeq: 9, effectsDoneSeq: 9 }]
const recordOf = (node: string, epoch: number) => ({
  partition: P,
  record: { node, incarnation: `${node}-life`, epoch },
  revision: epoch,
})
const toldBy = (node: Coordinator) => node.nextBeat({}, 100).partitions

it('an owner that hears of a later epoch tells its own for as long as it still serves: of each epoch there is one owner', () => {
  const [old, next] = [nodeOf('a'), nodeOf('b')]
  old.ownersRead([recordOf('a', 2)], 0, 1)
  next.ownersRead([recordOf('b', 3)], 0, 1)
  old.step(owning, 10)
  next.step(owning, 10)
  expect(toldBy(old)).toMatchObject([{ partition: P, role: 'owner', epoch: 2 }])
  old.heard(next.nextBeat({}, 50), 60)
  old.step(owning, 70)
  expect(toldBy(old)).toMatchObject([{ partition: P, role: 'owner', epoch: 2 }])
  expect(toldBy(next)).toMatchObject([{ partition: P, role: 'owner', epoch: 3 }])
  old.step([{ partition: P, role: 'standby', appliedSeq: 9, effectsDoneSeq: 0 }], 80)
  expect(toldBy(old)).toMatchObject([{ partition: P, role: 'standby', epoch: 3 }])
})
