/** A call of an activity, as whoever runs it knows it. */
import type { ActivityOptions } from '../contract/contract.ts'
import type { EffectId } from '../core/index.ts'
import type { InstanceKey } from '../protocol/index.ts'

export interface ActivityCall {
  readonly kind: 'activity'
  readonly key: InstanceKey
  readonly id: EffectId
  readonly name: string
  readonly input: Uint8Array
  readonly options: ActivityOptions | undefined
  /** The trace context of the input whose turn asked for it; undefined for none. */
  readonly trace?: string | undefined
  /** The identity of the work queue that has it; undefined for one that no queue has. */
  readonly queued?: string | undefined
}

/** The name of a call for ever: `<type>.<id>/<seq>.<index>`, tokens as on the wire. */
export function callId(key: InstanceKey, id: EffectId): string {
  return `${key}/${id}`
}
