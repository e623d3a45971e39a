/**
 * Where an instance stands that does not take its inputs as they come, and why.
 *
 * Two kinds of waiting. What has been *received* waits for what the journal says: a suspension, or a pause, until a command ends it. What has been *held*
 * waits for the host alone (its type is paused, or so much waits in front of it that it goes on in slices): it is received later, as if it came then.
 * So holding decides when, and never what.
 */
import type { ErrorData } from '../errors.ts'
import type { EffectId } from './effect.ts'

/** The input whose handler went wrong, where it was one. */
export interface Culprit {
  readonly seq: number
  /** Its handler began in the turn that went wrong: nothing of it has been kept. */
  readonly isNew: boolean
}

/** The instance stands at this input, which went wrong and has not been applied. */
export interface Suspension {
  readonly seq: number
  readonly error: ErrorData
  readonly culprit?: Culprit
  /** It is tried again by itself: for the so many-th time, when this timer fires. */
  readonly retry?: { readonly tries: number; readonly effect: EffectId; readonly dueMs: number }
}

/** The instance was paused by a command. */
export interface Pause {
  /** The command's place and time. */
  readonly seq: number
  readonly timeMs: number
  readonly reason?: string
}

export interface Standing {
  /** The first input that may not have been applied: it and those behind it wait, in order. */
  readonly from: number
  readonly suspension: Suspension | undefined
  readonly pause: Pause | undefined
  /** The first input that has not been received. */
  readonly heldFrom: number | undefined
}

/** True when nothing in the journal keeps the instance where it stands. */
export function mayGoOn({ suspension, pause }: Standing): boolean {
  return suspension === undefined && pause === undefined
}

/** True when the instance waits for the host alone: it goes on although no input comes. */
export function isDue(standing: Standing | undefined): boolean {
  return standing !== undefined && (standing.heldFrom !== undefined || mayGoOn(standing))
}

/** As it stands in a record, behind the suspension. */
export type FlatStanding = [from: number, heldFrom: number, pause?: Pause]

export function flattenStanding({ from, heldFrom, pause }: Standing): FlatStanding {
  const flat: FlatStanding = [from, heldFrom ?? 0]
  if (pause !== undefined) flat.push(pause)
  return flat
}

/** A record without the second part is of an instance that is suspended, and nothing else. */
export function unflattenStanding(
  suspension: Suspension | undefined,
  flat: FlatStanding | undefined,
): Standing | undefined {
  if (flat === undefined)
    return suspension === undefined
      ? undefined
      : { from: suspension.seq, suspension, pause: undefined, heldFrom: undefined }
  const [from, heldFrom, pause] = flat
  return { from, suspension, pause, heldFrom: heldFrom === 0 ? undefined : heldFrom }
}
