/**
 * Compares what happened with the reference fold of the journal, as the histories grow.
 *
 * Reads nothing but the files of a run, and shares no code with the runtime. Every check is linear in the length of the histories: the journal gives
 * the order, so nothing has to be searched for.
 */
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

import { type DumpedMessage, FILES, type ProducerLine, type Sent, type Told } from '../histories.ts'
import { Fold } from '../reference/fold.ts'
import type { FoldCounts } from '../reference/fold-instance.ts'
import type { FoldInput, JournalMessage } from '../reference/fold-input.ts'
import { CalmCheck } from './calm-check.ts'
import { EffectCheck } from './effect-check.ts'
import { type Finding, Findings } from './findings.ts'
import { LetterCheck } from './letter-check.ts'
import { LookCheck } from './look-check.ts'
import { OwnerCheck } from './owner-check.ts'
import { SenderOrder } from './sender-order.ts'
import { Tail } from './tail.ts'

export interface CheckerOptions {
  readonly folder: string
  readonly namespace: string
  readonly partitions: number
  readonly producers: number
}

export interface CheckReport {
  readonly findings: readonly Finding[]
  /** How much each check has looked at. */
  readonly looked: Findings['counts']
  /** What the reference met in the journal. */
  readonly met: Readonly<FoldCounts>
  readonly acknowledged: number
  readonly inputs: number
}

export interface Owed {
  readonly lastSeq: number
  readonly count: number
  readonly first: readonly string[]
}

const OWED_SHOWN = 4

export class Checker {
  readonly #findings = new Findings()
  readonly #fold: Fold
  readonly #journal: Tail<DumpedMessage>
  readonly #producers: readonly Tail<ProducerLine>[]
  readonly #messages = new Map<number, DumpedMessage>()
  readonly #ids = new Map<number, string | undefined>()
  readonly #sent = new Map<string, Sent>()
  readonly #letters: LetterCheck
  readonly #effects: EffectCheck
  readonly #looks: LookCheck
  readonly #owners: OwnerCheck
  readonly #order = new SenderOrder(this.#findings)
  readonly #calm: CalmCheck
  #unjudged: FoldInput[] = []
  #told: Told[] = []
  #acknowledged = 0
  #timeMs = 0

  constructor({ folder, namespace, partitions, producers }: CheckerOptions) {
    this.#fold = new Fold(namespace, partitions)
    this.#journal = new Tail(join(folder, FILES.journal))
    this.#producers = Array.from(
      { length: producers },
      (_, i) => new Tail<ProducerLine>(join(folder, FILES.producer(i))),
    )
    this.#letters = new LetterCheck(join(folder, FILES.dead), this.#fold, this.#findings)
    this.#effects = new EffectCheck(join(folder, FILES.sink), this.#fold, this.#findings)
    this.#looks = new LookCheck(join(folder, FILES.looks), this.#fold, this.#findings)
    this.#owners = new OwnerCheck(join(folder, FILES.owners), this.#findings)
    this.#calm = new CalmCheck(this.#fold, this.#findings)
  }

  /** What the journal still asks for at a moment. */
  owed(nowMs: number): Owed {
    this.#readJournal()
    this.#letters.read()
    const owed = [...this.#fold.owed(nowMs), ...this.#letters.owed()]
    return { lastSeq: this.#fold.lastSeq, count: owed.length, first: owed.slice(0, OWED_SHOWN) }
  }

  /** From here on nothing is broken on purpose, until `check`. */
  beginCalm(): void {
    this.#readJournal()
    this.#effects.read()
    this.#calm.begin()
  }

  /** At a quiet moment: every producer has its answers, and nothing is owed. */
  check(round: number): CheckReport {
    this.#readJournal()
    this.#readProducers()
    for (const input of this.#unjudged.splice(0)) this.#judge(input)
    for (const told of this.#told.splice(0)) this.#judgeTold(told)
    this.#letters.check(this.#messages, this.#sent)
    this.#effects.check()
    this.#looks.check(round)
    this.#owners.check()
    this.#calm.end(this.#effects)
    this.#findings.counts.timer = this.#fold.counts.fired
    return {
      findings: this.#findings.found,
      looked: this.#findings.counts,
      met: this.#fold.counts,
      acknowledged: this.#acknowledged,
      inputs: this.#fold.lastSeq,
    }
  }

  #readJournal(): void {
    for (const message of this.#journal.read()) {
      this.#findings.looked('journal')
      if (message.seq !== this.#fold.lastSeq + 1)
        this.#findings.find('journal', `the journal goes from ${this.#fold.lastSeq} to ${message.seq}`)
      if (message.timeMs < this.#timeMs)
        this.#findings.find('journal', `the time of seq ${message.seq} is before that of the one in front of it`)
      this.#timeMs = message.timeMs
      const input = this.#fold.apply(toJournalMessage(message))
      this.#messages.set(message.seq, message)
      this.#ids.set(message.seq, input.id)
      this.#unjudged.push(input)
      this.#calm.saw(input)
    }
  }

  #readProducers(): void {
    for (const tail of this.#producers) {
      for (const line of tail.read()) {
        if (line.what === 'sent') this.#sent.set(line.id, line)
        else if (line.what === 'told') this.#told.push(line)
        else {
          this.#acknowledged += 1
          this.#findings.looked('acknowledged')
          if (this.#ids.get(line.seq) !== line.id)
            this.#findings.find(
              'acknowledged',
              `${line.id} was acknowledged as seq ${line.seq}, where the journal holds ${this.#ids.get(line.seq) ?? 'nothing'}`,
            )
          this.#order.acked(this.#sent.get(line.id), line)
        }
      }
    }
  }

  /** Nothing is in the journal that nobody asked for, and what is there is as it was asked for. */
  #judge(input: FoldInput): void {
    this.#findings.looked('only-sent')
    const problem = this.#problemOf(input)
    if (problem !== undefined) this.#findings.find('only-sent', `seq ${input.seq} (${input.id}) ${problem}`)
  }

  #problemOf({ seq, key, kind, name, id, payload }: FoldInput): string | undefined {
    const { calls, timers, sends } = this.#fold
    if (kind === 'activity' || kind === 'timer') {
      const { effect } = (payload.ok ? payload.value : {}) as { effect?: string }
      const isKnown = kind === 'activity' ? calls.has(`${key}/${effect}`) : timers.has(`${key}/${effect}`)
      return isKnown ? undefined : `is of the ${kind} ${key}/${effect}, which nobody asked for`
    }
    const send = sends.get(id ?? '')
    if (send !== undefined) {
      const isSame =
        send.target === key &&
        kind === 'signal' &&
        send.name === name &&
        payload.ok &&
        isDeepStrictEqual(payload.value, send.payload)
      return isSame ? undefined : `is not the ${send.name} to ${send.target} that its sender asked for`
    }
    const sent = this.#sent.get(id ?? '')
    if (sent === undefined) return 'is an input that nobody sent'
    if (sent.key !== key || (key !== undefined && (sent.kind !== kind || sent.name !== name)))
      return `went to ${key}, it was sent to ${sent.key}`
    const isSame =
      sent.bytes === undefined
        ? payload.ok && isDeepStrictEqual(payload.value, sent.payload)
        : this.#messages.get(seq)?.payload === sent.bytes
    return isSame ? undefined : 'is not as it was sent'
  }

  #judgeTold({ id, outcome }: Told): void {
    this.#findings.looked('outcome')
    const key = this.#sent.get(id)?.key ?? ''
    const wanted = this.#fold.instances.get(key)?.outcomes.get(id)
    if (!isDeepStrictEqual(outcome, wanted))
      this.#findings.find(
        'outcome',
        `the sender of ${id} to ${key} was told ${JSON.stringify(outcome)}, the reference says ${JSON.stringify(wanted)}`,
      )
  }
}

function toJournalMessage({ seq, timeMs, subject, headers, payload }: DumpedMessage): JournalMessage {
  return { seq, timeMs, subject, payload: Buffer.from(payload, 'base64'), header: (name) => headers[name] }
}
