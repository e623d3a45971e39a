/** The outcome of an input, on its way to the inbox that waits for it. */
import { type Input, type InstanceKey, isPlain, type ReplyPayload } from '../protocol/index.ts'
import type { Effect } from './effect.ts'

/** Who sent an input through codecs is answered through them. */
export function replyTo(
  inbox: string,
  payload: ReplyPayload,
  { encoding }: Input,
  key: InstanceKey,
): Effect & { readonly kind: 'reply' } {
  return isPlain(encoding) ? { kind: 'reply', inbox, payload } : { kind: 'reply', inbox, payload, sealFor: key }
}
