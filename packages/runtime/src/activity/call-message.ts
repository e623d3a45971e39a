/**
 * A call on its way to a remote worker: one message of the work queue. This is the one place where its payload is made and read.
 *
 * The payload is the input, and stands alone, so that a worker in any language may read it; what else there is to know stands in the subject and
 * the headers. The message id is the call's id: a call that is sent again after a crash is dropped by the server while it remembers that.
 */
import type { ActivityOptions } from '../contract/contract.ts'
import { type EffectId, isEffectId } from '../core/index.ts'
import { CarillonError } from '../errors.ts'
import {
  decodeEncoded,
  encodeThrough,
  encodeToken,
  encodeValue,
  HEADERS,
  type InstanceKey,
  isPayloadEncoding,
  parseKey,
  type PayloadCodecs,
  type PayloadPlace,
  placeOfInput,
  quote,
  type Subjects,
} from '../protocol/index.ts'
import { type ActivityCall, callId } from './activity-call.ts'

export interface CallMessage {
  readonly subject: string
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

/** @throws PAYLOAD_TOO_LARGE as the codecs do. */
export function encodeCall(
  subjects: Subjects,
  queue: string,
  { key, id, name, input, options }: ActivityCall,
  codecs: PayloadCodecs | undefined,
): CallMessage {
  const [type = ''] = key.split('.')
  const { bytes: payload, encoding } = encodeThrough(codecs, input, placeOfCall(key, name))
  const headers: Record<string, string> = {
    [HEADERS.call]: callId(key, id),
    [HEADERS.natsId]: callId(key, id),
    [HEADERS.encoding]: encoding,
  }
  if (options !== undefined) headers[HEADERS.callOptions] = asciiJson(options)
  return { subject: subjects.call(encodeToken(queue), type as never, encodeToken(name)), headers, payload }
}

/** A call as it came: whose it is, and what it needs once it is to be run. */
export interface ParsedCall {
  readonly key: InstanceKey
  readonly id: EffectId
  readonly name: string
  /** The trace context that its attempts belong to. */
  readonly trace: string | undefined
  /** @throws INVALID_PAYLOAD when it cannot be read. @throws UNKNOWN_CODEC when this process lacks a codec or a key for it. */
  open(codecs: PayloadCodecs | undefined): ActivityCall
}

/** @throws INVALID_PAYLOAD when the message is no call. */
export function parseCallMessage(
  subjects: Subjects,
  message: { readonly subject: string; readonly payload: Uint8Array; header(name: string): string | undefined },
): ParsedCall {
  const named = subjects.parseCall(message.subject)
  const [text = '', id, ...rest] = (message.header(HEADERS.call) ?? '').split('/')
  if (named === undefined || rest.length > 0 || !isEffectId(id) || typeOf(text) !== named.type)
    throw new CarillonError(
      'INVALID_PAYLOAD',
      `the message on ${quote(message.subject)} is no call: its header ${HEADERS.call} is ${quote(message.header(HEADERS.call))}`,
    )
  const key = text as InstanceKey
  const name = named.activity
  const trace = message.header(HEADERS.trace)
  const open = (codecs: PayloadCodecs | undefined): ActivityCall => ({
    kind: 'activity',
    key,
    id,
    name,
    input: openInput(codecs, message.payload, message.header(HEADERS.encoding) ?? 'json', placeOfCall(key, name)),
    options: parseOptions(message.header(HEADERS.callOptions)),
    ...(trace === undefined ? {} : { trace }),
  })
  return { key, id, name, trace, open }
}

/** The input in the form that attempts read. */
function openInput(
  codecs: PayloadCodecs | undefined,
  payload: Uint8Array,
  encoding: string,
  place: PayloadPlace,
): Uint8Array {
  if (encoding === 'msgpack') return payload
  if (isPayloadEncoding(encoding)) return encodeValue(decodeEncoded(codecs, payload, encoding, place))
  throw new CarillonError('INVALID_PAYLOAD', `the header ${HEADERS.encoding} of a call is ${quote(encoding)}`)
}

function placeOfCall(key: InstanceKey, name: string): PayloadPlace {
  return placeOfInput(key, 'call', name)
}

function typeOf(key: string): string | undefined {
  try {
    return key.split('.').length === 2 ? parseKey(key as InstanceKey).type : undefined
  } catch {
    return undefined
  }
}

function parseOptions(text: string | undefined): ActivityOptions | undefined {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as ActivityOptions
  } catch {
    throw new CarillonError('INVALID_PAYLOAD', `the header ${HEADERS.callOptions} is not JSON: ${quote(text)}`)
  }
}

/** Headers hold ASCII. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
