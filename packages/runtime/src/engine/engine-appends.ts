/**
 * What an engine appends: inputs for its own instances and for others, calls for work queues, dead letters.
 *
 * Owns: the subject, the headers and the payload of each. Does not own: when it is done, nor what is done once it is stored.
 *
 * Invariants
 * 1. What is appended again after a crash has the same id and the same value: receivers drop the repeat.
 */
import { type ActivityCall, encodeCall } from '../activity/index.ts'
import { askerOf, encodeResult, sendIdOf, type TimerRow } from '../core/index.ts'
import type { Clock, InputLog, Logger } from '../ports/index.ts'
import {
  encodeToken,
  encodeValue,
  HEADERS,
  NO_BYTES,
  type Outcome,
  type Partition as PartitionNumber,
  type PayloadCodecs,
  type Subjects,
  type Token,
} from '../protocol/index.ts'
import { deadLetterMessage } from './dead-letter.ts'
import type { ReachFailpoint } from './failpoints.ts'
import { encodeForInput } from './outgoing-payload.ts'
import type { DeadLetter, OutgoingSend } from './pending-effect.ts'
import type { TurnTracing } from './turn-tracing.ts'

const MSGPACK = { [HEADERS.encoding]: 'msgpack' } as const
const AGAIN_MS = 1000

export interface EngineAppendsOptions {
  readonly subjects: Subjects
  readonly log: InputLog
  readonly codecs: PayloadCodecs | undefined
  readonly tracing: TurnTracing
  readonly clock: Clock
  readonly logger: Logger
  readonly reach: ReachFailpoint
  /** False once the engine stops: what cannot be stored then is given up, and stays pending. */
  readonly isRunning: () => boolean
}

type Headers = Readonly<Record<string, string>>

/** Each call resolves when the message is stored, and rejects only when the engine stops before. */
export class EngineAppends {
  readonly #options: EngineAppendsOptions

  constructor(options: EngineAppendsOptions) {
    this.#options = options
  }

  async send({ key, id, target, inputKind, name, payload, trace }: OutgoingSend): Promise<void> {
    const { subjects, codecs, tracing } = this.#options
    const token = name === '' ? undefined : encodeToken(name)
    const subject = subjects.logOfKey(subjects.partitionOfKey(target), target, inputKind, token)
    const encoded = encodeForInput(codecs, payload, target, inputKind, name)
    const headers = {
      [HEADERS.id]: sendIdOf(key, id),
      ...encoded.headers,
      ...tracing.headersOf(key, id, trace),
      ...(inputKind === 'update' ? { [HEADERS.reply]: askerOf(key, id) } : {}),
    }
    return this.#append(subject, headers, encoded.payload)
  }

  async call(queue: string, call: ActivityCall): Promise<void> {
    const { subjects, codecs, tracing } = this.#options
    const { subject, headers, payload } = encodeCall(subjects, queue, call, codecs)
    return this.#append(subject, { ...headers, ...tracing.headersOf(call.key, call.id, call.trace) }, payload)
  }

  async deadLetter(partition: PartitionNumber, letter: DeadLetter): Promise<void> {
    const { subjects, codecs } = this.#options
    const { subject, headers, payload } = deadLetterMessage(subjects, partition, letter, codecs)
    return this.#append(subject, headers, payload)
  }

  async result({ key, id, name, trace }: ActivityCall, outcome: Outcome): Promise<void> {
    const { subjects, codecs, tracing } = this.#options
    const subject = subjects.logOfKey(subjects.partitionOfKey(key), key, 'activity', encodeToken(name))
    const { payload, headers } = encodeForInput(codecs, encodeResult(id, outcome), key, 'activity', name)
    const traced = tracing.headersOf(key, id, trace)
    return this.#append(subject, { [HEADERS.id]: `${id}:result`, ...headers, ...traced }, payload)
  }

  async firing(partition: PartitionNumber, { key, effect, dueMs }: TimerRow, name: string): Promise<void> {
    const subject = this.#options.subjects.logOfKey(partition, key, 'timer', encodeToken(name))
    return this.#append(subject, { [HEADERS.id]: `${effect}:timer`, ...MSGPACK }, encodeValue({ effect, dueMs }))
  }

  /** The deployment as an input: what begins behind it may go by this build's new ways, on every node and whenever it is folded again. */
  async patch(partition: PartitionNumber, type: Token, patch: string): Promise<void> {
    return this.#append(this.#options.subjects.patch(partition, type, encodeToken(patch, 'patch')), {}, NO_BYTES)
  }

  /** While the journal cannot be written, tries again for as long as the engine runs. */
  async #append(subject: string, headers: Headers, payload: Uint8Array): Promise<void> {
    const { log, reach, clock, logger, isRunning } = this.#options
    reach('before-append')
    for (;;) {
      try {
        await log.append(subject, { headers, payload })
        return reach('after-append')
      } catch (error) {
        if (!isRunning()) throw error
        logger.warn({ subject, err: error }, 'a message cannot be stored: trying again')
        await new Promise<void>((resolve) => void clock.after(AGAIN_MS, resolve))
      }
    }
  }
}
