/** Journal messages as docs/protocol.md describes them, parsed for the checkers: nothing here is shared with the code under test. */
import { readMsgpack } from './msgpack.ts'

/** One message of the log stream, as a plain JetStream client sees it. */
export interface JournalMessage {
  readonly seq: number
  readonly timeMs: number
  readonly subject: string
  readonly payload: Uint8Array
  header(name: string): string | undefined
}

export interface FoldInput {
  readonly seq: number
  readonly timeMs: number
  /** `<type>.<id>`, tokens as on the wire; undefined when the subject names no instance. */
  readonly key: string | undefined
  readonly type: string
  readonly kind: string
  readonly name: string
  readonly id: string | undefined
  readonly payload: Payload
  /** Why no instance is to see it. */
  readonly refusal: string | undefined
}

export type Payload = { readonly ok: true; readonly value: unknown } | { readonly ok: false }

const KINDS = new Set(['start', 'signal', 'update', 'activity', 'timer', 'admin'])

export function parseJournal(message: JournalMessage, namespace: string, partitions: number): FoldInput {
  const { seq, timeMs, subject } = message
  const encoding = message.header('Carillon-Encoding') ?? 'json'
  const id = message.header('Carillon-Id') ?? message.header('Nats-Msg-Id')
  const common = { seq, timeMs, id, payload: parsePayload(message.payload, encoding) }
  const [space, log, partition, type = '', instance = '', kind = '', name = '', ...rest] = subject.split('.')
  const isOurs =
    space === namespace && log === 'log' && KINDS.has(kind) && (kind === 'start') === (name === '') && rest.length === 0
  if (!isOurs || Number(partition) !== fnv1a(type + instance) % partitions)
    return { ...common, key: undefined, type: '', kind: '', name: '', refusal: 'INVALID_ID' }
  const refusal = encoding === 'json' || encoding === 'msgpack' ? undefined : 'INVALID_PAYLOAD'
  return { ...common, key: `${type}.${instance}`, type, kind, name, refusal }
}

function parsePayload(bytes: Uint8Array, encoding: string): Payload {
  try {
    if (bytes.length === 0) return { ok: true, value: undefined }
    const value: unknown =
      encoding === 'msgpack' ? readMsgpack(bytes) : JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return { ok: true, value }
  } catch {
    return { ok: false }
  }
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (const letter of text) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193)
  return hash >>> 0
}
