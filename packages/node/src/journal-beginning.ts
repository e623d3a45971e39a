/** Whether the journal still holds an instance from its beginning: only then can its states be computed again. */
import type { Carillon, JournalBounds } from '@carillon/client'
import { codeOf } from '@carillon/runtime'
import type { Description } from '@carillon/runtime/protocol'

export type Beginning =
  | { readonly kind: 'whole' }
  /** It does not: a fold of what is left gives other states. */
  | { readonly kind: 'trimmed'; readonly reason: string }
  /** It cannot be told. */
  | { readonly kind: 'unknown'; readonly reason: string }

const DESCRIBE_MS = 5000

/** Asks the cluster when the instance started, if that matters. */
export async function beginningOf(
  carillon: Carillon,
  bounds: JournalBounds,
  type: string,
  id: string,
): Promise<Beginning> {
  if (bounds.firstSeq === 1) return judgeBeginning(bounds, type, id, 'not asked')
  try {
    return judgeBeginning(bounds, type, id, await carillon.workflow(type, id).describe({ timeoutMs: DESCRIBE_MS }))
  } catch (error) {
    return judgeBeginning(bounds, type, id, String(codeOf(error)))
  }
}

/** @param described what the cluster knows of the instance, or why that is not known. */
export function judgeBeginning(
  { firstSeq, firstTime, deleted }: JournalBounds,
  type: string,
  id: string,
  described: Pick<Description, 'incarnation' | 'startedMs'> | string,
): Beginning {
  if (firstSeq === 1) {
    if (deleted === 0) return { kind: 'whole' }
    return {
      kind: 'unknown',
      reason: `${deleted} messages were deleted from the journal, perhaps inputs of ${type}/${id}`,
    }
  }
  const begins = `the journal has been trimmed: it begins at seq ${firstSeq}${firstTime === undefined ? '' : `, ${firstTime.toISOString()}`}`
  if (typeof described === 'string')
    return { kind: 'unknown', reason: `${begins}, and no node tells when ${type}/${id} started (${described})` }
  const { incarnation, startedMs } = described
  const started = `${type}/${id} started ${new Date(startedMs).toISOString()}`
  if (startedMs > 0 && firstTime !== undefined && startedMs < firstTime.getTime())
    return { kind: 'trimmed', reason: `${begins}, and ${started}, before that` }
  if (startedMs > 0 && incarnation === 1) return { kind: 'whole' }
  return { kind: 'unknown', reason: `${begins}, and ${type}/${id} may have lived before` }
}
