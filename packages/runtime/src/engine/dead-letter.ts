/** A dead letter as a message: the input as it came, and why it was not applied. */
import {
  encodeToken,
  HEADERS,
  INPUT_ID_BYTES_MAX,
  type Partition,
  type PayloadCodecs,
  PROTOCOL_VERSION,
  sealText,
  type Subjects,
} from '../protocol/index.ts'
import { encodeAsItCame } from './outgoing-payload.ts'
import type { DeadLetter } from './pending-effect.ts'

/** Characters of a reason in its header. */
const REASON_CHARS_MAX = 500
/** Header values are one line of ASCII; the text of a reason may quote anything. */
const UNSAFE = /[^\u0020-\u007e]/g
// oxlint-disable-next-line no-control-regex -- control characters are exactly what is replaced
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g

export function deadLetterMessage(
  subjects: Subjects,
  partition: Partition,
  { key, id, input, subject, reason }: DeadLetter,
  codecs?: PayloadCodecs,
): { readonly subject: string; readonly headers: Readonly<Record<string, string>>; readonly payload: Uint8Array } {
  const stored = encodeAsItCame(codecs, input, key)
  const headers: Record<string, string> = {
    ...stored.headers,
    // Emitting it again is safe: the stream drops repeats within its window, and readers know the effect's id.
    [HEADERS.natsId]: `${key ?? 'malformed'}/${id}`,
    [HEADERS.reasonCode]: reason.code,
    [HEADERS.reasonText]:
      codecs !== undefined && stored.headers[HEADERS.encoding]?.includes(',') === true
        ? sealText(codecs, reason.message.slice(0, REASON_CHARS_MAX), key ?? '')
        : reason.message.replace(UNSAFE, '?').slice(0, REASON_CHARS_MAX),
    [HEADERS.originSeq]: String(input.seq),
    [HEADERS.originSubject]: (subject ?? subjectOf(input.kind, input.name)).replace(UNSAFE, '?').slice(0, 500),
  }
  // Driven again, it must not pass for a version that it is not.
  if (input.version !== PROTOCOL_VERSION) headers[HEADERS.version] = input.version.replace(UNSAFE, '?').slice(0, 100)
  // It may be the very reason: a header that the connection refuses would hold back the letter for ever.
  if (input.id !== undefined) headers[HEADERS.id] = input.id.replace(CONTROL, '?').slice(0, INPUT_ID_BYTES_MAX)
  return {
    subject: key === undefined ? subjects.deadMalformed : subjects.dead(partition, key),
    headers,
    payload: stored.payload,
  }
}

function subjectOf(kind: string, name: string): string {
  return name === '' ? kind : `${kind}.${encodeToken(name)}`
}
