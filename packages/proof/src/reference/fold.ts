/** The reference: a fold of the whole journal, which keeps what every instance looked like behind each of its inputs. */
import { type FoldInput, type JournalMessage, parseJournal } from './fold-input.ts'
import { type FoldCounts, FoldInstance, type FoldRecord, type FoldSend } from './fold-instance.ts'

export interface FoldCall {
  readonly activity: string
  readonly input: object
}

export class Fold implements FoldRecord {
  readonly instances = new Map<string, FoldInstance>()
  /** By sequence of the input: why it was refused. */
  readonly deadInputs = new Map<number, { readonly input: FoldInput; readonly code: string }>()
  readonly calls = new Map<string, FoldCall>()
  readonly sends = new Map<string, FoldSend>()
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
    bugs: 0,
  }
  readonly openCalls = new Set<string>()
  /** Not yet in the journal. */
  readonly openSends = new Set<string>()
  /** With the moment at which each is due. */
  readonly openTimers = new Map<string, number>()
  /** Every timer that was ever set. */
  readonly timers = new Set<string>()
  lastSeq = 0
  readonly #namespace: string
  readonly #partitions: number
  readonly #views = new Map<string, Map<number, string>>()

  constructor(namespace: string, partitions: number) {
    this.#namespace = namespace
    this.#partitions = partitions
  }

  /** What is owed at a moment: activities, inputs to others, timers that are due. */
  owed(nowMs: number): string[] {
    const due = [...this.openTimers].filter(([, dueMs]) => dueMs <= nowMs).map(([name]) => `timer ${name}`)
    return [
      ...[...this.openCalls].map((id) => `activity ${id}`),
      ...[...this.openSends].map((id) => `send ${id}`),
      ...due,
    ]
  }

  /** The instance behind its input at `seq`, as canonical text; undefined when it has no input there. */
  viewAt(key: string, seq: number): string | undefined {
    return this.#views.get(key)?.get(seq)
  }

  apply(message: JournalMessage): FoldInput {
    const input = parseJournal(message, this.#namespace, this.#partitions)
    this.lastSeq = input.seq
    if (input.id !== undefined) this.openSends.delete(input.id)
    const { key, type, refusal } = input
    if (key === undefined) this.dead(input, 'INVALID_ID')
    else if (refusal !== undefined) this.dead(input, refusal)
    else this.#applyTo(key, type, input)
    return input
  }

  dead(input: FoldInput, code: string): void {
    this.deadInputs.set(input.seq, { input, code })
  }

  call(callId: string, activity: string, input: object): void {
    this.calls.set(callId, { activity, input })
    this.openCalls.add(callId)
  }

  callDone(callId: string): void {
    this.openCalls.delete(callId)
  }

  send(id: string, send: FoldSend): void {
    this.sends.set(id, send)
    this.openSends.add(id)
  }

  timerSet(name: string, dueMs: number): void {
    this.timers.add(name)
    this.openTimers.set(name, dueMs)
  }

  timerDone(name: string): void {
    this.openTimers.delete(name)
  }

  #applyTo(key: string, type: string, input: FoldInput): void {
    const instance = this.instances.get(key) ?? FoldInstance.of(key, type, this)
    if (instance === undefined) return this.dead(input, 'UNKNOWN_TYPE')
    instance.apply(input)
    if (!instance.isBegun) return
    this.instances.set(key, instance)
    const views = this.#views.get(key) ?? new Map<number, string>()
    this.#views.set(key, views)
    views.set(input.seq, canonical(instance.view()))
  }
}

/** JSON with sorted keys, so that equal values are equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  )
}
