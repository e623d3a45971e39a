/**
 * What a turn asks for, as data.
 *
 * The order of a turn's effects is the order in which its code asked for them, and the durability contract: `activity`, `timer`, `send` and `dead`
 * stay pending, in the same transaction as the state, until they are done; the others are hints that a repeat of the turn gives again.
 */
import type { ActivityOptions } from '../contract/contract.ts'
import type { ErrorData } from '../errors.ts'
import type { Input, InputKind, InstanceKey, ReplyPayload } from '../protocol/index.ts'
import type { Pause } from './standing.ts'

/** `<input seq>.<index within the turn>`: with the instance's key it names one effect for ever, so emitting it again is safe. */
export type EffectId = `${number}.${number}`

const EFFECT_ID = /^\d{1,15}\.\d{1,7}$/

/** Whether a value from outside is an effect's id. */
export function isEffectId(value: unknown): value is EffectId {
  return typeof value === 'string' && EFFECT_ID.test(value)
}

export type Effect =
  | {
      readonly kind: 'activity'
      readonly id: EffectId
      readonly name: string
      readonly input: Uint8Array
      readonly options: ActivityOptions | undefined
    }
  /** The activity's result was applied, or is not wanted any more. */
  | { readonly kind: 'activity-done'; readonly id: EffectId }
  | { readonly kind: 'timer'; readonly id: EffectId; readonly name: string; readonly dueMs: number }
  /** The timer has fired or was cancelled. */
  | { readonly kind: 'timer-done'; readonly id: EffectId; readonly dueMs: number }
  /** An input for another instance, or for this one. Done when the journal has it. */
  | {
      readonly kind: 'send'
      readonly id: EffectId
      readonly target: InstanceKey
      readonly inputKind: InputKind
      /** Empty for `start`. */
      readonly name: string
      /** msgpack. */
      readonly payload: Uint8Array
    }
  | { readonly kind: 'dead'; readonly id: EffectId; readonly input: Input; readonly reason: ErrorData }
  /** `sealFor`: the input came through codecs, and so does the answer; the instance that gives it. */
  | {
      readonly kind: 'reply'
      readonly inbox: string
      readonly payload: ReplyPayload
      readonly sealFor?: InstanceKey
    }
  | {
      readonly kind: 'log'
      readonly level: 'debug' | 'info' | 'warn' | 'error'
      readonly message: string
      readonly fields: Readonly<Record<string, unknown>> | undefined
    }
  /** An activity result or timer that nobody waits for (any more). Counted. */
  | { readonly kind: 'ignored'; readonly input: Input }
  /** An input whose id was known. Counted. */
  | { readonly kind: 'duplicate'; readonly input: Input }
  | { readonly kind: 'closed'; readonly seq: number }
  /** The instance is to take no inputs behind this one, until it is resumed. */
  | { readonly kind: 'pause'; readonly pause: Pause }
