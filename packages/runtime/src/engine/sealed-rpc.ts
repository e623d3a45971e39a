/** Requests that came through codecs: opened, answered, and the answer sealed. */
import { toPlainError } from '../core/index.ts'
import { CarillonError } from '../errors.ts'
import { asSealed, decodeValue, encodeValue, openSealed, type PayloadCodecs, sealMessage } from '../protocol/index.ts'

/**
 * Answers a request, sealed or not. Never rejects: errors are part of the answer.
 *
 * Where a codec is required, requests about an instance must have passed it; lists hold no values of users and need not.
 */
export async function answerThroughCodecs(
  codecs: PayloadCodecs,
  request: Uint8Array,
  nowMs: number,
  answer: (request: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  try {
    const value = decodeValue(request)
    const sealed = asSealed(value)
    const refusal = isKeyed(value) ? codecs.refusalOfRead(sealed?.encoding ?? 'msgpack', nowMs) : undefined
    if (refusal !== undefined) throw refusal
    if (sealed === undefined) return await answer(request)
    const opened = openSealed(codecs, sealed, 'request')
    checkKey(opened, sealed.key)
    return sealMessage(codecs, await answer(opened), sealed.key, 'answer')
  } catch (error) {
    return encodeValue({ ok: false, error: toPlainError(error, 'QUERY_FAILED') })
  }
}

function isKeyed(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'key' in value
}

/** What it asks is what it was sealed for. */
function checkKey(opened: Uint8Array, key: string): void {
  const value = decodeValue(opened)
  if (typeof value === 'object' && value !== null && 'key' in value && value.key === key) return
  throw new CarillonError('INVALID_PAYLOAD', `the sealed request about ${key} asks about another instance`)
}
