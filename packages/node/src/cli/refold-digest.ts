/** The digest that a fold of the journal gives for one instance, as of a place in it. */
import type { Carillon } from '@carillon/client'
import { encodeToken, parseKey } from '@carillon/runtime/protocol'
import { Refold } from '@carillon/runtime/replay'

import { beginningOf } from '../journal-beginning.ts'
import type { Workflows } from '../node.ts'
import type { Agreed } from './compare-replicas.ts'
import { toCodecs } from './connection-options.ts'

export type Refolded =
  | { readonly kind: 'folded'; readonly seq: number; readonly digest: string }
  | { readonly kind: 'left-out'; readonly reason: string }

/** Folds all of its inputs up to where the node had applied the partition. */
export async function refoldDigest(
  carillon: Carillon,
  { implementations, interceptors }: Workflows,
  { key, row }: Agreed,
  flags: { readonly codecs?: string },
): Promise<Refolded> {
  const { type, id } = parseKey(key)
  const implementation = implementations.find(({ contract }) => contract.name === type)
  if (implementation === undefined) return leftOut('the files implement another type')
  if (row.seq === 0) return leftOut('they have not begun')
  const { journal } = carillon
  const beginning = await beginningOf(carillon, await journal.bounds(), type, id)
  if (beginning.kind !== 'whole') return leftOut('the journal does not hold their beginning for certain')
  const partition = journal.subjects.partitionOf(encodeToken(type), encodeToken(id))
  const fold = new Refold({
    subjects: journal.subjects,
    implementation,
    id,
    taskSecret: carillon.cluster.clusterId,
    codecs: await toCodecs(flags),
    interceptors,
  })
  for await (const message of journal.inputsOf(type, id, await journal.patchesOf(type, partition))) {
    if (message.seq > row.atSeq) break
    await fold.apply(message)
  }
  // Inputs wait at the nodes for the end of a pause of their type, which is no input.
  if (row.waits && fold.seq !== row.seq) return leftOut('inputs of theirs wait at the nodes')
  return { kind: 'folded', seq: fold.seq, digest: fold.digest() ?? '' }
}

function leftOut(reason: string): Refolded {
  return { kind: 'left-out', reason }
}
