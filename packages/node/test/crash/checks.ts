/** Compares what happened with the fold of the journal. Every check counts what it looked at: one that looked at nothing proves nothing. */
import { isDeepStrictEqual } from 'node:util'

import type { Description } from '@carillon/runtime/protocol'

import type { Fold } from './fold.ts'
import type { FoldInput } from '../../../proof/src/reference/fold-input.ts'
import type { FoldInstance } from './fold-instance.ts'
import type { JournalMessage } from './journal.ts'
import { readMsgpack } from '../../../proof/src/reference/msgpack.ts'
import type { Producer, SentOp } from './producer.ts'

/** What one node says of one instance. */
export interface Seen {
  readonly description: Description
  readonly state: unknown
}

export interface Attempt {
  readonly callId: string
  readonly attempt: number
  readonly input: object
}

const FINDINGS_MAX = 12
/** Of inputs that come behind the end of an instance, or that it ended without receiving. */
const LATE_CODES: ReadonlySet<string> = new Set(['CLOSED', 'NOT_FOUND', 'UNRECEIVED'])

export class Checks {
  readonly findings: string[] = []
  readonly counts: Record<string, number> = {}

  /** Everything that was acknowledged is in the journal, at its place. */
  acknowledged(producer: Producer, inputs: ReadonlyMap<number, FoldInput>): void {
    for (const { id, seq } of producer.acks) {
      this.#count('acknowledged')
      if (inputs.get(seq)?.id !== id)
        this.#find(`${id} was acknowledged as seq ${seq}, where the journal holds ${inputs.get(seq)?.id ?? 'nothing'}`)
    }
  }

  /** Nothing is in the journal that nobody sent; what is there is as it was sent. */
  sent(
    producer: Producer,
    inputs: ReadonlyMap<number, FoldInput>,
    messages: ReadonlyMap<number, JournalMessage>,
  ): void {
    for (const input of inputs.values()) {
      if (input.kind === 'activity' || input.kind === 'timer') continue
      this.#count('inputs')
      const op = producer.sent.get(input.id ?? '')
      if (op === undefined) {
        if (input.key !== undefined || !producer.malformed.has(input.id ?? ''))
          this.#find(`seq ${input.seq} holds ${input.id}, which nobody sent`)
      } else if (!isSame(op, input, messages.get(input.seq)))
        this.#find(`seq ${input.seq} is not ${op.id} as it was sent`)
    }
  }

  /** States, order (by the hash chain in each state) and bookkeeping equal the fold's. */
  instances(fold: Fold, seen: ReadonlyMap<string, Seen>): void {
    for (const [key, instance] of fold.instances) {
      this.#count('instances')
      const real = seen.get(key)
      if (real === undefined) this.#find(`${key} is in the journal, and the node does not know it`)
      else this.#compare(key, instance, real)
    }
  }

  #compare(key: string, instance: FoldInstance, { description, state }: Seen): void {
    const rest = withoutLuck(state)
    if (!isDeepStrictEqual(rest, structuredClone(instance.model?.view())))
      this.#find(`the state of ${key} is ${JSON.stringify(rest)}, the fold's ${JSON.stringify(instance.model?.view())}`)
    const { status, seq, timeMs, incarnation, knownIds, queued, mailbox, activities, timers, suspended } = description
    const real = {
      status,
      seq,
      timeMs,
      incarnation,
      knownIds,
      queued,
      mailbox,
      activities: activities.length,
      timers: timers.length,
      suspended: suspended?.seq,
    }
    const wanted = {
      status:
        instance.parked.length > 0
          ? 'suspended'
          : instance.phase === 'running'
            ? 'running'
            : instance.result?.ok === true
              ? 'completed'
              : 'failed',
      seq: instance.seq,
      timeMs: instance.now,
      incarnation: instance.lives,
      knownIds: instance.knownIds,
      queued: instance.queued,
      mailbox: instance.mailbox,
      activities: instance.openCalls,
      timers: instance.openTimers,
      suspended: instance.parked[0],
    }
    if (!isDeepStrictEqual(real, wanted))
      this.#find(`${key} is described as ${JSON.stringify(real)}, the fold says ${JSON.stringify(wanted)}`)
    if (status === 'completed' && !isDeepStrictEqual(description.closed?.outcome, instance.result))
      this.#find(
        `${key} completed with ${JSON.stringify(description.closed?.outcome)}, the fold with ${JSON.stringify(instance.result)}`,
      )
  }

  /** What a list or a count gives is what the instances say. */
  listed(what: string, real: ReadonlyMap<string, unknown> | ReadonlySet<string>, wanted: typeof real): void {
    this.#count('listed')
    if (isDeepStrictEqual(real, wanted)) return
    const [given, known] = [[...real], [...wanted]]
    const more = given.filter((one) => !known.some((other) => isDeepStrictEqual(one, other)))
    const less = known.filter((one) => !given.some((other) => isDeepStrictEqual(one, other)))
    this.#find(`${what} gives ${JSON.stringify(more.slice(0, 3))} in place of ${JSON.stringify(less.slice(0, 3))}`)
  }

  /** Exactly the activities that the fold asks for were attempted, each at least once, and always with its own input. */
  activities(fold: Fold, attempts: readonly Attempt[]): void {
    const seen = new Set<string>()
    for (const { callId, input } of attempts) {
      this.#count('attempts')
      const wanted = fold.calls.get(callId)
      if (wanted === undefined) this.#find(`the activity ${callId} was run, and the fold never asks for it`)
      else if (!isDeepStrictEqual(wanted, input))
        this.#find(
          `the activity ${callId} was run with ${JSON.stringify(input)}, the fold says ${JSON.stringify(wanted)}`,
        )
      seen.add(callId)
    }
    for (const callId of fold.calls.keys()) {
      this.#count('activities')
      if (!seen.has(callId)) this.#find(`the activity ${callId} was never run`)
    }
  }

  /** Dead letters are those of the fold, and of inputs that are meant to be refused. */
  deadLetters(
    fold: Fold,
    producer: Producer,
    letters: readonly JournalMessage[],
    messages: ReadonlyMap<number, JournalMessage>,
  ): void {
    const seen = new Set<string>()
    for (const letter of letters) {
      const name = letter.header('Nats-Msg-Id') ?? ''
      const wanted = fold.deadLetters.get(name)
      const origin = messages.get(Number(letter.header('Carillon-Seq')))
      if (wanted === undefined) this.#find(`the dead letter ${name} is none of the fold's`)
      else if (wanted.code !== letter.header('Carillon-Reason'))
        this.#find(
          `the dead letter ${name} has the reason ${letter.header('Carillon-Reason')}, the fold says ${wanted.code}`,
        )
      else if (origin?.seq !== wanted.input.seq || !isAsItCame(letter, origin, wanted.input))
        this.#find(`the dead letter ${name} is not seq ${wanted.input.seq} as it came`)
      seen.add(name)
    }
    for (const [name, { input, code }] of fold.deadLetters) {
      this.#count('deadLetters')
      if (!seen.has(name)) this.#find(`seq ${input.seq} (${code}) is not among the dead letters as ${name}`)
      const op = producer.sent.get(input.id ?? '')
      const isLate = op?.key.startsWith('steps.') === true && LATE_CODES.has(code)
      if (input.key !== undefined && op?.isPoison !== true && !isLate)
        this.#find(`the dead letter ${name} (${code}) is an input that ought to be applied`)
    }
  }

  /** Whoever asked for an outcome was told the one of the first input with that id, however often it was asked. */
  outcomes(fold: Fold, producer: Producer): void {
    const asked = new Set<string>()
    for (const { id, outcome } of producer.told) {
      this.#count(asked.has(id) ? 'repeatedOutcomes' : 'outcomes')
      asked.add(id)
      const op = producer.sent.get(id)
      const wanted = fold.instances.get(op?.key ?? '')?.outcomes.get(id) ?? []
      if (!wanted.some((one) => isDeepStrictEqual(outcome, one)))
        this.#find(
          `the sender of ${id} to ${op?.key} was told ${JSON.stringify(outcome)}, the fold says ${JSON.stringify(wanted)}`,
        )
    }
  }

  /** Two looks at the same journal show the same instances. */
  same(what: string, before: ReadonlyMap<string, Seen>, after: ReadonlyMap<string, Seen>): void {
    for (const [key, { description, state }] of before) {
      this.#count('digests')
      const other = after.get(key)
      if (other?.description.digest !== description.digest)
        this.#find(`the digest of ${key} ${what} is ${other?.description.digest}, it was ${description.digest}`)
      else if (!isDeepStrictEqual(other.state, state))
        this.#find(`the state of ${key} ${what} is ${JSON.stringify(other.state)}, it was ${JSON.stringify(state)}`)
    }
  }

  find(finding: string): void {
    this.#find(finding)
  }

  #find(finding: string): void {
    if (this.findings.length < FINDINGS_MAX) this.findings.push(finding)
    else if (this.findings.length === FINDINGS_MAX) this.findings.push('and more')
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }
}

function isSame(op: SentOp, { key, kind, name, payload }: FoldInput, message: JournalMessage | undefined): boolean {
  if (op.key !== key || op.kind !== kind || op.name !== name) return false
  if (op.payload instanceof Uint8Array) return message !== undefined && Buffer.from(op.payload).equals(message.payload)
  return op.headers !== undefined || (payload.ok && isDeepStrictEqual(payload.value, op.payload))
}

/** A signal that came with a start is one of its own from then on. */
function isAsItCame(letter: JournalMessage, origin: JournalMessage, { kind, payload }: FoldInput): boolean {
  if (kind !== 'start') return Buffer.from(letter.payload).equals(origin.payload)
  return payload.ok && isDeepStrictEqual(readMsgpack(letter.payload), payload.value)
}

/** What the fold cannot know is left out of the state. */
function withoutLuck(state: unknown): unknown {
  if (state === undefined) return undefined
  const { luck: _luck, ...rest } = state as Record<string, unknown>
  return rest
}
