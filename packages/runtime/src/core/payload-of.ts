/** What came in an input, decoded. */
import { decodeEncoded, decodePayload, type Input, type InstanceKey, isPlain, placeOfInput } from '../protocol/index.ts'
import type { Implementation } from '../contract/implement.ts'

/**
 * The value of an input's payload.
 *
 * @throws INVALID_PAYLOAD when it is none. @throws CODEC_REQUIRED when it has not passed a codec that it must have. @throws UNKNOWN_CODEC, which
 * suspends the instance, when a codec or a key is missing here.
 */
export function payloadOf(
  { key, implementation }: { readonly key: InstanceKey; readonly implementation: Implementation },
  input: Input,
): unknown {
  const codecs = implementation.host?.codecs
  if (codecs !== undefined) {
    const refusal = codecs.refusal(input)
    if (refusal !== undefined) throw refusal
  }
  const { encoding, payload } = input
  if (isPlain(encoding)) return decodePayload(payload, encoding)
  return decodeEncoded(codecs, payload, encoding, placeOfInput(key, input.kind, input.name))
}
