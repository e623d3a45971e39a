/** A dead letter as a message: the input as it came, and why it was not applied. */
import {
  encodeToken,
  HEADERS,
  INPUT_ID_BYTES_MAX,
  type Partition,
  PROTOCOL_VERSION,
  type Subjects,
} from '../protocol/index.ts'
import type { DeadLetter } from './pending-effect.ts'

/** Header values are one line of ASCII; the text of a reason may quote anything. */
const UNSAFE = /[^\u0020-\u007e]/g
// oxlint-disable-next-line no-control-regex -- control characters are exactly what is replaced
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g

export function deadLetterMessage(
  subjects: Subjects,
  partition: Partition,
  { key, id, input, subject, reason }: DeadLetter,
): { readonly subject: string; readonly headers: Readonly<Record<string, string>>; readonly payload: Uint8Array } {
  const headers: Record<string, string> = {
    // Emitting it again is safe: the stream drops repeats within its window, and readers know the effect's id.
    [HEADERS.natsId]: `${key ?? 'malformed'}/${id}`,
    [HEADERS.reasonCode]: reason.code,
    [HEADERS.reasonText]: reason.message.replace(UNSAFE, '?').slice(0, 500),
    [HEADERS.originSeq]: String(input.seq),
    [HEADERS.originSubject]: (subject ?? subjectOf(input.kind, input.name)).replace(UNSAFE, '?').slice(0, 500),
  }
  if (input.encoding === 'msgpack') headers[HEADERS.encoding] = input.encoding
  // Driven again, it must not pass for a version that it is not.
  if (input.version !== PROTOCOL_VERSION) headers[HEADERS.version] = input.version.replace(UNSAFE, '?').slice(0, 100)
  // It may be the very reason: a header that the connection refuses would hold back the letter for ever.
  if (input.id !== undefined) headers[HEADERS.id] = input.id.replace(CONTROL, '?').slice(0, INPUT_ID_BYTES_MAX)
  return {
    subject: key === undefined ? subjects.deadMalformed : subjects.dead(partition, key),
    headers,
    payload: input.payload,
  }
}

function subjectOf(kind: string, name: string): string {
  return name === '' ? kind : `${kind}.${encodeToken(name)}`
}
