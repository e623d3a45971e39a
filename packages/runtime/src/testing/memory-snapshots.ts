/** Remote snapshots in memory, with the faults that a network and other nodes bring. */
import { CarillonError } from '../errors.ts'
import { checkSegment, PART_BYTES_MAX, type Snapshots, type StoredHead } from '../ports/index.ts'
import type { Partition } from '../protocol/index.ts'

export interface MemorySnapshotsOptions {
  /** Awaited before each change is made: a test ends the writer there, or lets another one come first. Throwing fails the call. */
  readonly gate?: (what: 'part' | 'head' | 'removal', partition: Partition) => void | Promise<void>
}

interface Part {
  readonly place: number
  readonly bytes: Uint8Array
}

export class MemorySnapshots implements Snapshots {
  readonly #options: MemorySnapshotsOptions
  readonly #heads = new Map<Partition, StoredHead>()
  readonly #parts = new Map<string, Part>()
  #place = 0

  constructor(options: MemorySnapshotsOptions = {}) {
    this.#options = options
  }

  /** The names of all parts that are stored: `<partition>/<segment>/<index>`. */
  get partNames(): readonly string[] {
    return [...this.#parts.keys()]
  }

  /** Changes a stored part, as a disk may. */
  damage(name: string, change: (bytes: Uint8Array) => Uint8Array | undefined): void {
    const part = this.#parts.get(name)
    if (part === undefined) throw new Error(`there is no part ${name}`)
    const bytes = change(part.bytes.slice())
    if (bytes === undefined) this.#parts.delete(name)
    else this.#parts.set(name, { ...part, bytes })
  }

  async head(partition: Partition): Promise<StoredHead | undefined> {
    const head = this.#heads.get(partition)
    return head && { ...head, bytes: head.bytes.slice() }
  }

  async replaceHead(partition: Partition, bytes: Uint8Array, expected: number): Promise<number | undefined> {
    await this.#options.gate?.('head', partition)
    if ((this.#heads.get(partition)?.revision ?? 0) !== expected) return undefined
    const revision = ++this.#place
    this.#heads.set(partition, { bytes: bytes.slice(), revision })
    return revision
  }

  async putPart(partition: Partition, segment: string, index: number, bytes: Uint8Array): Promise<number> {
    if (bytes.length > PART_BYTES_MAX) throw new TypeError(`a part of ${bytes.length} bytes is over ${PART_BYTES_MAX}`)
    const name = `${partition}/${checkSegment(segment)}/${index}`
    await this.#options.gate?.('part', partition)
    const place = ++this.#place
    this.#parts.set(name, { place, bytes: new Uint8Array(bytes) })
    return place
  }

  async *parts(partition: Partition, segment: string, count: number): AsyncIterable<Uint8Array> {
    for (let index = 0; index < count; index++) {
      const part = this.#parts.get(`${partition}/${checkSegment(segment)}/${index}`)
      if (part === undefined)
        throw new CarillonError(
          'SNAPSHOT_DAMAGED',
          `part ${index} of the segment ${segment} of partition ${partition} is gone`,
        )
      yield part.bytes.slice()
    }
  }

  async removeBefore(partition: Partition, place: number): Promise<void> {
    await this.#options.gate?.('removal', partition)
    for (const [name, part] of this.#parts)
      if (name.startsWith(`${partition}/`) && part.place < place) this.#parts.delete(name)
  }

  async remove(partition: Partition, segment: string): Promise<void> {
    await this.#options.gate?.('removal', partition)
    for (const name of this.#parts.keys()) if (name.startsWith(`${partition}/${segment}/`)) this.#parts.delete(name)
  }
}
