/** Effects that stay pending until they are done, as rows of the store's `effect` table. */
import type { ActivityCall } from '../activity/index.ts'
import type { ActivityOptions } from '../contract/contract.ts'
import type { EffectId } from '../core/index.ts'
import type { ErrorData } from '../errors.ts'
import { decodeValue, encodeValue, type Input, type InputKind, type InstanceKey } from '../protocol/index.ts'
import { decodeInput, encodeInput } from '../core/index.ts'

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

/** One input that has to go into the journal of an instance. */
export interface OutgoingSend {
  readonly kind: 'send'
  /** The instance that sends it. */
  readonly key: InstanceKey
  readonly id: EffectId
  readonly target: InstanceKey
  readonly inputKind: InputKind
  readonly name: string
  readonly payload: Uint8Array
  /** The trace context of the input whose turn asked for it; undefined for none. */
  readonly trace?: string | undefined
}

export type PendingEffect = ActivityCall | DeadLetter | OutgoingSend

export function encodePending(effect: PendingEffect): Uint8Array {
  if (effect.kind === 'activity')
    return encodeValue([
      0,
      effect.key,
      effect.id,
      effect.name,
      effect.input,
      effect.options ?? null,
      ...(effect.queued === undefined ? traceOf(effect) : [effect.trace ?? null, effect.queued]),
    ])
  if (effect.kind === 'send')
    return encodeValue([
      2,
      effect.key,
      effect.id,
      effect.target,
      effect.inputKind,
      effect.name,
      effect.payload,
      ...traceOf(effect),
    ])
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
    | [0, InstanceKey, EffectId, string, Uint8Array, ActivityOptions | null, (string | null)?, string?]
    | [1, InstanceKey | null, EffectId, Uint8Array, string | null, ErrorData]
    | [2, InstanceKey, EffectId, InstanceKey, InputKind, string, Uint8Array, string?]
  if (flat[0] === 0)
    return {
      kind: 'activity',
      key: flat[1],
      id: flat[2],
      name: flat[3],
      input: flat[4],
      options: flat[5] ?? undefined,
      ...traced(flat[6] ?? undefined),
      ...(flat[7] === undefined ? {} : { queued: flat[7] }),
    }
  if (flat[0] === 2)
    return {
      kind: 'send',
      key: flat[1],
      id: flat[2],
      target: flat[3],
      inputKind: flat[4],
      name: flat[5],
      payload: flat[6],
      ...traced(flat[7]),
    }
  return {
    kind: 'dead',
    key: flat[1] ?? undefined,
    id: flat[2],
    input: decodeInput(flat[3]),
    subject: flat[4] ?? undefined,
    reason: flat[5],
  }
}

/** Most have none, and take no room for it. */
function traceOf({ trace }: { readonly trace?: string | undefined }): string[] {
  return trace === undefined ? [] : [trace]
}

function traced(trace: string | undefined): { readonly trace?: string } {
  return trace === undefined ? {} : { trace }
}
