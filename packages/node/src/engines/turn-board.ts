/**
 * Which code of an author runs now, in memory that two threads of a process share: the engine writes it at each turn, the guard looks at it.
 *
 * Written without locks, for that costs more than a turn may: what is read may be torn while it changes, and counts once it has been the same for a while.
 */
import type { BesideKind, TurnBoard } from '@carillon/runtime/engine'
import type { InstanceKey, Partition } from '@carillon/runtime/protocol'

const COUNT = 0
const KIND = 1
const PARTITION = 2
const SEQ = 3
const STANDBY = 4
const TEXT_BYTES = 5
const BEATS = 6
const NUMBERS = 8
/** A key and a name: two ids of 200 bytes, each byte escaped, and a name. */
const TEXT_BYTES_MAX = 4096

const KINDS = ['none', 'turn', 'query', 'migrate'] as const
type Kind = (typeof KINDS)[number]

/** What the board shows. */
export type Shown =
  | { readonly kind: 'none' }
  | { readonly kind: 'turn'; readonly partition: Partition; readonly seq: number; readonly isStandby: boolean }
  | { readonly kind: BesideKind; readonly partition: Partition; readonly key: InstanceKey; readonly name: string }

export class SharedTurnBoard implements TurnBoard {
  readonly memory: SharedArrayBuffer
  readonly #numbers: Float64Array
  readonly #text: Buffer
  #count = 0

  constructor(memory = new SharedArrayBuffer(NUMBERS * 8 + TEXT_BYTES_MAX)) {
    this.memory = memory
    this.#numbers = new Float64Array(memory, 0, NUMBERS)
    this.#text = Buffer.from(memory, NUMBERS * 8)
  }

  turn(partition: Partition, seq: number, isStandby: boolean): void {
    const numbers = this.#numbers
    numbers[PARTITION] = partition
    numbers[SEQ] = seq
    numbers[STANDBY] = isStandby ? 1 : 0
    numbers[KIND] = 1
    numbers[COUNT] = ++this.#count
  }

  beside(kind: BesideKind, partition: Partition, key: InstanceKey, name: string): void {
    const numbers = this.#numbers
    numbers[PARTITION] = partition
    numbers[TEXT_BYTES] = this.#text.write(`${key} ${name}`)
    numbers[KIND] = KINDS.indexOf(kind)
    numbers[COUNT] = ++this.#count
  }

  end(): void {
    this.#numbers[KIND] = 0
  }

  /** The event loop turns. */
  beat(): void {
    this.#numbers[BEATS] = (this.#numbers[BEATS] ?? 0) + 1
  }

  /** Grows with everything that begins. */
  get count(): number {
    return this.#numbers[COUNT] ?? 0
  }

  /** Grows while the thread gets anywhere. */
  get progress(): number {
    return this.count + (this.#numbers[BEATS] ?? 0)
  }

  shown(): Shown {
    const numbers = this.#numbers
    const kind: Kind = KINDS[numbers[KIND] ?? 0] ?? 'none'
    const partition = numbers[PARTITION] as Partition
    if (kind === 'none') return { kind }
    if (kind === 'turn') return { kind, partition, seq: numbers[SEQ] ?? 0, isStandby: numbers[STANDBY] === 1 }
    const [key = '', name = ''] = this.#text.toString('utf8', 0, numbers[TEXT_BYTES]).split(' ')
    return { kind, partition, key: key as InstanceKey, name }
  }
}
