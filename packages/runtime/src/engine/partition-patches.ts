/**
 * Which patches are active in one partition, and since which sequence.
 *
 * Invariants
 * 1. The first input that makes a patch active counts; later ones change nothing.
 * 2. It is saved in one batch with the position.
 */
import { type ActivePatches, patchKey, parsePatchKey, patchRange } from '../core/index.ts'
import type { OrderedStore, Write } from '../ports/index.ts'
import { decodeValue, encodeToken, encodeValue, type Partition, type Token } from '../protocol/index.ts'

/** Patches of one type in one partition: whoever may write to the journal could else fill the store. */
const PATCHES_MAX = 1000

export class PartitionPatches {
  readonly #partition: Partition
  readonly #byType = new Map<string, Map<string, number>>()

  constructor(store: OrderedStore, partition: Partition) {
    this.#partition = partition
    for (const { key, value } of store.range('meta', patchRange(partition))) {
      const { type, patch } = parsePatchKey(key)
      this.#of(type).set(patch, decodeValue(value) as number)
    }
  }

  /** Of one type; what becomes active later is seen in it. */
  of(type: string): ActivePatches {
    return this.#of(type)
  }

  /** What is to be saved, or undefined when it changes nothing. */
  activate(type: Token, patch: string, seq: number): Write | undefined {
    const patches = this.#of(type)
    if (patches.has(patch) || patches.size >= PATCHES_MAX) return undefined
    patches.set(patch, seq)
    const key = patchKey(this.#partition, type, encodeToken(patch, 'patch'))
    return { table: 'meta', key, value: encodeValue(seq) }
  }

  #of(type: string): Map<string, number> {
    const known = this.#byType.get(type)
    if (known !== undefined) return known
    const patches = new Map<string, number>()
    this.#byType.set(type, patches)
    return patches
  }
}
