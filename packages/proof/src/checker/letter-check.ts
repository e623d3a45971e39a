/** Dead letters are exactly the inputs that the reference refuses, and those are exactly the ones that were meant to be refused. */
import type { DumpedMessage, Sent } from '../histories.ts'
import type { Fold } from '../reference/fold.ts'
import type { Findings } from './findings.ts'
import { Tail } from './tail.ts'

export class LetterCheck {
  readonly #tail: Tail<DumpedMessage>
  readonly #fold: Fold
  readonly #findings: Findings
  /** By the sequence of the input, the name of its letter. */
  readonly #names = new Map<number, string | undefined>()
  #letters: DumpedMessage[] = []
  readonly #judged = new Set<number>()

  constructor(path: string, fold: Fold, findings: Findings) {
    this.#tail = new Tail(path)
    this.#fold = fold
    this.#findings = findings
  }

  read(): void {
    for (const letter of this.#tail.read()) {
      const seq = Number(letter.headers['Carillon-Seq'])
      const name = letter.headers['Nats-Msg-Id']
      if (this.#names.has(seq) && this.#names.get(seq) !== name)
        this.#findings.find('dead-letter', `seq ${seq} has the dead letters ${this.#names.get(seq)} and ${name}`)
      this.#names.set(seq, name)
      this.#letters.push(letter)
    }
  }

  /** Inputs whose letters have not come. */
  owed(): string[] {
    return [...this.#fold.deadInputs.keys()]
      .filter((seq) => !this.#names.has(seq))
      .map((seq) => `dead letter of ${seq}`)
  }

  check(messages: ReadonlyMap<number, DumpedMessage>, sent: ReadonlyMap<string, Sent>): void {
    this.read()
    for (const letter of this.#letters.splice(0)) this.#judge(letter, messages)
    for (const [seq, { input, code }] of this.#fold.deadInputs) {
      if (this.#judged.has(seq)) continue
      this.#judged.add(seq)
      this.#findings.looked('dead-letter')
      if (!this.#names.has(seq)) this.#findings.find('dead-letter', `seq ${seq} (${code}) has no dead letter`)
      if (sent.get(input.id ?? '')?.isPoison !== true)
        this.#findings.find('dead-letter', `seq ${seq} (${code}, ${input.id}) is refused and ought to be applied`)
    }
  }

  #judge(letter: DumpedMessage, messages: ReadonlyMap<number, DumpedMessage>): void {
    const seq = Number(letter.headers['Carillon-Seq'])
    const reason = letter.headers['Carillon-Reason']
    const wanted = this.#fold.deadInputs.get(seq)
    if (wanted === undefined)
      return this.#findings.find('dead-letter', `seq ${seq} (${reason}) is a dead letter and none of the reference's`)
    if (wanted.code !== reason)
      this.#findings.find('dead-letter', `seq ${seq} is a dead letter for ${reason}, the reference says ${wanted.code}`)
    if (messages.get(seq)?.payload !== letter.payload)
      this.#findings.find('dead-letter', `the dead letter of seq ${seq} is not as it came`)
  }
}
