/** Folds the instances of the journal again under a build, one after the other: so much memory as the largest of them takes. */
import { CarillonError } from '@carillon/runtime'
import type { LogMessage } from '@carillon/runtime/ports'
import { encodeToken, type InstanceKey, parseKey, type Partition } from '@carillon/runtime/protocol'

import { type InstanceReport, type ReplayContext, replayInstance } from './replay-instance.ts'

export interface ReplaySelection {
  readonly type: string | undefined
  readonly id: string | undefined
}

/**
 * Gives a report of every instance: by type, partition and id.
 *
 * @throws CONFIG_INVALID when the build does not implement the type. @throws NO_NODE when the cluster is to be asked and no node answers.
 */
export async function* replayAll(context: ReplayContext, { type, id }: ReplaySelection): AsyncIterable<InstanceReport> {
  const names = context.build.types.map(({ name }) => name)
  if (type !== undefined && !names.includes(type))
    throw new CarillonError('CONFIG_INVALID', `the build implements no type ${type}, but ${names.join(', ')}`)
  const { journal } = context.carillon
  for (const name of type === undefined ? names : [type]) {
    if (id !== undefined) {
      const partition = journal.subjects.partitionOf(encodeToken(name, 'workflow type'), encodeToken(id, 'instance id'))
      yield await replayInstance(context, { type: name, id, patches: await journal.patchesOf(name, partition) })
      continue
    }
    for (let partition = 0; partition < journal.subjects.partitions; partition++)
      yield* replayPartition(context, name, partition as Partition)
  }
}

async function* replayPartition(
  context: ReplayContext,
  type: string,
  partition: Partition,
): AsyncIterable<InstanceReport> {
  const { journal } = context.carillon
  const keys: readonly InstanceKey[] = await journal.instancesOf(type, partition)
  if (keys.length === 0) return
  const patches: readonly LogMessage[] = await journal.patchesOf(type, partition)
  for (const key of keys) yield await replayInstance(context, { ...parseKey(key), patches })
}
