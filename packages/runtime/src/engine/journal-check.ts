/** Whether the journal is the one that the store was built from, and reaches as far: else nothing may be built upon it. */
import { CarillonError } from '../errors.ts'
import type { LogBounds, OrderedStore } from '../ports/index.ts'

const JOURNAL_KEY = 'journal'

/** @throws JOURNAL_REPLACED, JOURNAL_BEHIND */
export function checkJournal(
  store: OrderedStore,
  { identity, firstSeq, lastSeq }: LogBounds,
  positions: readonly number[],
): void {
  const saved = store.get('meta', JOURNAL_KEY)
  const known = saved === undefined ? undefined : new TextDecoder().decode(saved)
  if (known !== undefined && known !== identity) {
    throw new CarillonError(
      'JOURNAL_REPLACED',
      `the journal was created ${identity}, but this node's data comes from the one created ${known}: restore the stream, or start with an empty data folder if its loss is accepted`,
    )
  }
  const furthest = Math.max(...positions)
  if (furthest > lastSeq) {
    throw new CarillonError(
      'JOURNAL_BEHIND',
      `the journal ends at seq ${lastSeq}, but this node has applied seq ${furthest}: acknowledged inputs are missing from it. Restore the stream from a newer copy; do not go on with this one`,
    )
  }
  const next = Math.min(...positions) + 1
  if (next < firstSeq && firstSeq <= lastSeq) {
    throw new CarillonError(
      'JOURNAL_BEHIND',
      `the journal begins at seq ${firstSeq}, but this node needs it from seq ${next}: inputs between them are gone. Restore the stream, or this node's data folder`,
    )
  }
}

/** Remembers whose data this is. Does nothing when it is known. */
export async function rememberJournal(store: OrderedStore, { identity }: LogBounds): Promise<void> {
  if (store.get('meta', JOURNAL_KEY) !== undefined) return
  await store.commit([{ table: 'meta', key: JOURNAL_KEY, value: new TextEncoder().encode(identity) }])
}
