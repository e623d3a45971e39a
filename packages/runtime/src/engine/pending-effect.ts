/** Effects that stay pending until they are done, as rows of the store's `effect` table. */
import type { ActivityOptions } from '../contract/contract.ts'
import type { EffectId } from '../core/index.ts'
import type { ErrorData } from '../errors.ts'
import { decodeValue, encodeValue, type Input, type InstanceKey } from '../protocol/index.ts'
import { decodeInput, encodeInput } from '../core/index.ts'

/** One call of an activity that somebody has to run. */
export interface ActivityCall {
  readonly kind: 'activity'
  readonly key: InstanceKey
  readonly id: EffectId
  readonly name: string
  readonly input: Uint8Array
  readonly options: ActivityOptions | undefined
}

/** One input that has to go into the dead-letter stream. */
export interface DeadLetter {
  readonly kind: 'dead'
  readonly key: InstanceKey | undefined
  readonly id: EffectId
  readonly input: Input
  /** The subject it came on, where it names no instance. */
  readonly subject: string | undefined
  readonly reason: ErrorData
}

export type PendingEffect = ActivityCall | DeadLetter

export function encodePending(effect: PendingEffect): Uint8Array {
  if (effect.kind === 'activity')
    return encodeValue([0, effect.key, effect.id, effect.name, effect.input, effect.options ?? null])
  return encodeValue([
    1,
    effect.key ?? null,
    effect.id,
    encodeInput(effect.input),
    effect.subject ?? null,
    effect.reason,
  ])
}

export function decodePending(bytes: Uint8Array): PendingEffect {
  const flat = decodeValue(bytes) as
    | [0, InstanceKey, EffectId, string, Uint8Array, ActivityOptions | null]
    | [1, InstanceKey | null, EffectId, Uint8Array, string | null, ErrorData]
  if (flat[0] === 0)
    return { kind: 'activity', key: flat[1], id: flat[2], name: flat[3], input: flat[4], options: flat[5] ?? undefined }
  return {
    kind: 'dead',
    key: flat[1] ?? undefined,
    id: flat[2],
    input: decodeInput(flat[3]),
    subject: flat[4] ?? undefined,
    reason: flat[5],
  }
}
