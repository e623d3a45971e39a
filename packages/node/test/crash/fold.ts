/** The checker's fold of the whole journal. */
import { parseJournal, type FoldInput } from '../../../proof/src/reference/fold-input.ts'
import { type FoldCounts, FoldInstance, type FoldRecord } from './fold-instance.ts'
import type { JournalMessage } from './journal.ts'

export interface DeadInput {
  readonly input: FoldInput
  readonly code: string
}

export class Fold implements FoldRecord {
  readonly instances = new Map<string, FoldInstance>()
  /** By `<type>.<id>/<effect>`, the name of the dead letter. */
  readonly deadLetters = new Map<string, DeadInput>()
  /** By callId: the input of every activity that was ever asked for. */
  readonly calls = new Map<string, object>()
  readonly counts: FoldCounts = {
    applied: 0,
    duplicates: 0,
    results: 0,
    resultsIgnored: 0,
    fired: 0,
    firedEarly: 0,
    firedInVain: 0,
    cancelled: 0,
    queued: 0,
    closes: 0,
    parked: 0,
    forgotten: 0,
  }
  readonly #namespace: string
  readonly #partitions: number
  lastSeq = 0

  constructor(namespace: string, partitions: number) {
    this.#namespace = namespace
    this.#partitions = partitions
  }

  /** No activity, timer or sleep is open. */
  get isSettled(): boolean {
    return this.unsettled.length === 0
  }

  get unsettled(): readonly FoldInstance[] {
    return [...this.instances.values()].filter((instance) => !instance.isSettled)
  }

  apply(message: JournalMessage): FoldInput {
    const input = parseJournal(message, this.#namespace, this.#partitions)
    this.lastSeq = input.seq
    const { key, type } = input
    if (key === undefined) this.dead('malformed', `${input.seq}.0`, input, 'INVALID_ID')
    else if (input.refusal !== undefined) this.dead(key, `${input.seq}.0`, input, input.refusal)
    else if (!['ledger', 'steps', 'stuck'].includes(type)) this.dead(key, `${input.seq}.0`, input, 'UNKNOWN_TYPE')
    else this.#applyTo(key, input)
    return input
  }

  dead(key: string, effect: string, input: FoldInput, code: string): void {
    this.deadLetters.set(`${key}/${effect}`, { input, code })
  }

  call(callId: string, input: object): void {
    this.calls.set(callId, input)
  }

  /** An input that finds no instance and starts none leaves nothing behind. */
  #applyTo(key: string, input: FoldInput): void {
    const instance = this.instances.get(key) ?? new FoldInstance(key, input.type, this)
    instance.apply(input)
    if (instance.phase !== 'absent' || instance.parked.length > 0) this.instances.set(key, instance)
  }
}
