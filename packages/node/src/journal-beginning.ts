/** Whether the journal still holds an instance from its beginning: only then can its states be computed again. */
import type { Carillon, JournalBounds } from '@carillon/client'
import { codeOf } from '@carillon/runtime'

export type Beginning =
  | { readonly kind: 'whole' }
  /** It does not: a fold of what is left gives other states. */
  | { readonly kind: 'trimmed'; readonly reason: string }
  /** It cannot be told. */
  | { readonly kind: 'unknown'; readonly reason: string }

const DESCRIBE_MS = 5000

export async function beginningOf(
  carillon: Carillon,
  { firstSeq, firstTime, deleted }: JournalBounds,
  type: string,
  id: string,
): Promise<Beginning> {
  if (firstSeq === 1) {
    if (deleted === 0) return { kind: 'whole' }
    return {
      kind: 'unknown',
      reason: `${deleted} messages were deleted from the journal, perhaps inputs of ${type}/${id}`,
    }
  }
  const begins = `the journal has been trimmed: it begins at seq ${firstSeq}${firstTime === undefined ? '' : `, ${firstTime.toISOString()}`}`
  try {
    const { incarnation, startedMs } = await carillon.workflow(type, id).describe({ timeoutMs: DESCRIBE_MS })
    const started = `${type}/${id} started ${new Date(startedMs).toISOString()}`
    if (startedMs > 0 && firstTime !== undefined && startedMs < firstTime.getTime())
      return { kind: 'trimmed', reason: `${begins}, and ${started}, before that` }
    if (startedMs > 0 && incarnation === 1) return { kind: 'whole' }
    return { kind: 'unknown', reason: `${begins}, and ${type}/${id} may have lived before` }
  } catch (error) {
    return {
      kind: 'unknown',
      reason: `${begins}, and no node tells when ${type}/${id} started (${String(codeOf(error))})`,
    }
  }
}
