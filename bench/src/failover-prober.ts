/**
 * Sends signals all the time, to one instance in each partition that it is aimed at, and keeps when each was accepted and applied.
 *
 * Two streams of them: one waits for the acknowledgement alone, the other until the signal is applied. A signal that fails is kept as a failure: there must
 * be none.
 */
import type { Carillon, WorkflowHandle } from '@carillon/client'
import { encodeToken, type Subjects } from '@carillon/runtime/protocol'

import { Counter, purchase } from './bench-workflow.ts'

export interface Accepted {
  readonly sentMs: number
  readonly ackedMs: number
}

export interface Applied {
  readonly partition: number
  readonly sentMs: number
  readonly appliedMs: number
}

export class Prober {
  readonly failures: string[] = []
  readonly #handles: readonly WorkflowHandle<typeof Counter.shape>[]
  readonly #everyMs: number
  #aimedAt: readonly number[]
  #accepted: Accepted[] = []
  #applied: Applied[] = []
  #next = 0
  #underWay = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined

  constructor(carillon: Carillon, subjects: Subjects, everyMs: number) {
    this.#handles = onePerPartition(subjects).map((id) => carillon.workflow(Counter, id))
    this.#aimedAt = this.#handles.map((_, partition) => partition)
    this.#everyMs = everyMs
  }

  start(): void {
    const tick = (): void => {
      this.#timer = setTimeout(tick, this.#everyMs)
      this.#sendOne()
    }
    tick()
  }

  /** Resolves when nothing is under way. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    await Promise.all(this.#underWay)
  }

  /** From now on, signals go to the instances in these partitions, in turn. */
  aim(partitions: readonly number[]): void {
    this.#aimedAt = partitions
  }

  /** One signal to each of them at once, to be applied. */
  burst(): void {
    for (const partition of this.#aimedAt) this.#apply(partition)
  }

  /** One signal to every partition; resolves when all are applied. */
  async all(): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.signal('count', purchase(0), { wait: 'applied' })))
  }

  /** The longest that any partition now waits for its first applied signal sent since then; undefined when each has had one. */
  waitsFor(partitions: Iterable<number>, sinceMs: number): number | undefined {
    const had = new Set(this.#applied.filter(({ sentMs }) => sentMs >= sinceMs).map(({ partition }) => partition))
    for (const partition of partitions) if (!had.has(partition)) return partition
    return undefined
  }

  /** What was measured since the last call. */
  take(): { readonly accepted: readonly Accepted[]; readonly applied: readonly Applied[] } {
    return { accepted: this.#accepted.splice(0), applied: this.#applied.splice(0) }
  }

  #sendOne(): void {
    const { length } = this.#aimedAt
    const i = this.#next++
    const [first, second] = [this.#aimedAt[i % length], this.#aimedAt[(i + Math.floor(length / 2)) % length]]
    if (first === undefined || second === undefined) return
    this.#apply(first)
    this.#accept(second)
  }

  #apply(partition: number): void {
    const sentMs = performance.now()
    const sent = this.#handles[partition]?.signal('count', purchase(0), { wait: 'applied' })
    this.#follow(sent?.then(() => void this.#applied.push({ partition, sentMs, appliedMs: performance.now() })))
  }

  #accept(partition: number): void {
    const sentMs = performance.now()
    const sent = this.#handles[partition]?.signal('count', purchase(1))
    this.#follow(sent?.then(() => void this.#accepted.push({ sentMs, ackedMs: performance.now() })))
  }

  #follow(sent: Promise<void> | undefined): void {
    if (sent === undefined) return
    const settled = sent
      .catch((error: unknown) => void this.failures.push(error instanceof Error ? error.message : String(error)))
      .finally(() => this.#underWay.delete(settled))
    this.#underWay.add(settled)
  }
}

/** An id for each partition. */
function onePerPartition(subjects: Subjects): readonly string[] {
  const ids: string[] = []
  const type = encodeToken(Counter.name)
  for (let i = 0, found = 0; found < subjects.partitions; i++) {
    const id = `probe-${i}`
    const partition = subjects.partitionOf(type, encodeToken(id))
    if (ids[partition] !== undefined) continue
    ids[partition] = id
    found += 1
  }
  return ids
}
