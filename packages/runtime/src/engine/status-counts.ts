/** How many instances of each type and status a partition holds. The numbers are rows of the store, and change in one batch with the instances. */
import { countKey, countRange, type RecordStatus, statusCode, typeOfCountKey } from '../core/index.ts'
import type { OrderedStore, Write } from '../ports/index.ts'
import {
  decodeValue,
  encodeValue,
  INSTANCE_STATUSES,
  type InstanceKey,
  type InstanceStatus,
  type Partition,
  typeTokenOf,
} from '../protocol/index.ts'

export class StatusCounts {
  readonly #partition: Partition
  /** By the type's token, then by the status's code. */
  readonly #counts: Map<string, number[]>
  readonly #changed = new Set<string>()

  constructor(store: OrderedStore, partition: Partition) {
    this.#partition = partition
    this.#counts = new Map(
      [...store.range('meta', countRange(partition))].map(({ key, value }) => [
        typeOfCountKey(key),
        decodeValue(value) as number[],
      ]),
    )
  }

  /** An instance has another status in the batch that is being collected; undefined where it has no record. */
  change(key: InstanceKey, before: RecordStatus | undefined, after: RecordStatus | undefined): void {
    if (before === after) return
    const type = typeTokenOf(key)
    const counts = this.#counts.get(type) ?? []
    this.#counts.set(type, counts)
    this.#changed.add(type)
    if (before !== undefined) add(counts, statusCode(before), -1)
    if (after !== undefined) add(counts, statusCode(after), 1)
  }

  collect(writes: Write[]): void {
    for (const type of this.#changed) {
      const counts = this.#counts.get(type) ?? []
      const isEmpty = counts.every((count) => count === 0)
      if (isEmpty) this.#counts.delete(type)
      const value = isEmpty ? undefined : encodeValue(counts)
      writes.push({ table: 'meta', key: countKey(this.#partition, type), value })
    }
    this.#changed.clear()
  }

  /** Tokens of the types that have instances, in the order of their records. */
  get types(): readonly string[] {
    return [...this.#counts.keys()].sort((a, b) => (`${a}.` < `${b}.` ? -1 : 1))
  }

  of(typeToken: string, status: InstanceStatus): number {
    return this.#counts.get(typeToken)?.[statusCode(status)] ?? 0
  }

  total(typeToken: string): number {
    return INSTANCE_STATUSES.reduce((sum, status) => sum + this.of(typeToken, status), 0)
  }
}

function add(counts: number[], code: number, by: number): void {
  while (counts.length <= code) counts.push(0)
  counts[code] = (counts[code] ?? 0) + by
}
