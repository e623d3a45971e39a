/** The boundary of the core: a stored message becomes an input, or is refused. After this nobody parses again. */
import {
  CODEC_OVERHEAD_BYTES_MAX,
  HEADERS,
  type Input,
  INPUT_ID_BYTES_MAX,
  type InstanceKey,
  isPayloadEncoding,
  isPlain,
  parseAsker,
  type Partition,
  PAYLOAD_BYTES_MAX,
  type PayloadEncoding,
  PROTOCOL_VERSION,
  type Subjects,
  type Token,
  checkInputId,
  traceOf,
} from '../protocol/index.ts'
import type { LogMessage } from '../ports/index.ts'
import { CarillonError, type ErrorData, toErrorData } from '../errors.ts'

export type ParsedInput =
  | { readonly kind: 'input'; readonly partition: Partition; readonly key: InstanceKey; readonly input: Input }
  /** A build that declares this patch of a type has gone live here: it is active for what begins from now on. */
  | { readonly kind: 'patch'; readonly partition: Partition; readonly type: Token; readonly patch: string }
  /** Not addressed to any instance: a subject that is none of ours. */
  | { readonly kind: 'malformed'; readonly reason: ErrorData }
  /** Addressed, but not acceptable: dead-lettered without reaching the instance. */
  | {
      readonly kind: 'refused'
      readonly partition: Partition
      readonly key: InstanceKey
      readonly input: Input
      readonly reason: ErrorData
    }

export function parseInput(subjects: Subjects, message: LogMessage): ParsedInput {
  const subject = subjects.parseLog(message.subject)
  if (subject === undefined)
    return (
      subjects.parsePatch(message.subject) ?? {
        kind: 'malformed',
        reason: { code: 'INVALID_ID', message: 'the subject is not that of an input: see docs/protocol.md' },
      }
    )
  const input: Input = {
    seq: message.seq,
    timeMs: message.timeMs,
    kind: subject.kind,
    name: subject.name,
    id: message.header(HEADERS.id) ?? message.header(HEADERS.natsId),
    encoding: (message.header(HEADERS.encoding) ?? 'json') as PayloadEncoding,
    payload: message.payload,
    reply: message.header(HEADERS.reply),
    trace: traceOf(message),
    version: message.header(HEADERS.version) ?? PROTOCOL_VERSION,
  }
  const reason = refusal(input)
  const { partition, key } = subject
  return reason === undefined
    ? { kind: 'input', partition, key, input }
    : { kind: 'refused', partition, key, input: acceptable(input), reason }
}

/** Without what must not go any further. */
function acceptable(input: Input): Input {
  return {
    ...input,
    reply: isReplyValid(input) ? input.reply : undefined,
    encoding: isPayloadEncoding(input.encoding) ? input.encoding : 'json',
  }
}

function refusal(input: Input): ErrorData | undefined {
  const bytesMax = PAYLOAD_BYTES_MAX + (isPlain(input.encoding) ? 0 : CODEC_OVERHEAD_BYTES_MAX)
  if (input.payload.length > bytesMax) {
    return {
      code: 'PAYLOAD_TOO_LARGE',
      message: `the payload has ${input.payload.length} bytes, over ${bytesMax}: store it elsewhere and send a reference`,
    }
  }
  if (!isPayloadEncoding(input.encoding)) {
    return {
      code: 'INVALID_PAYLOAD',
      message: `the header ${HEADERS.encoding} is neither json nor msgpack, with codecs or without`,
    }
  }
  if (!isReplyValid(input))
    return { code: 'INVALID_ID', message: `the header ${HEADERS.reply} is not an inbox subject (_INBOX.…)` }
  if (input.id === undefined) return undefined
  try {
    checkInputId(input.id)
    return undefined
  } catch (error) {
    return toErrorData(
      error instanceof CarillonError
        ? error
        : new CarillonError('INVALID_ID', `an input id has at most ${INPUT_ID_BYTES_MAX} bytes`),
      'INVALID_ID',
    )
  }
}

function isReplyValid(input: Input): boolean {
  return input.reply === undefined || isInbox(input.reply) || isAsker(input)
}

/** Only nodes send updates with the address of an instance; the public door takes no updates. */
function isAsker({ kind, reply }: Input): boolean {
  return kind === 'update' && reply !== undefined && parseAsker(reply) !== undefined
}

/** Replies go to inboxes only: a producer must not make a node publish anywhere else. */
function isInbox(subject: string): boolean {
  return /^_INBOX(?:\.[A-Za-z0-9_-]+)+$/.test(subject) && subject.length <= 200
}
