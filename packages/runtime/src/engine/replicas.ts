/**
 * What a node does for the partitions that it follows, whether it owns them or not: it answers reads, and compares digests.
 *
 * Owns: the subjects for that.
 * Does not own: the partitions, nor their roles.
 */
import type { Bus } from '../ports/index.ts'
import { encodeToken, type Partition as PartitionNumber, type Subjects } from '../protocol/index.ts'
import type { Partition } from './partition.ts'
import type { NodeIdentity, ReplicaDigests } from './replica-digests.ts'

/** One of those who follow a partition answers each read. */
const QUEUE = 'replicas'

export interface ReplicasOptions {
  readonly subjects: Subjects
  readonly bus: Bus
  /** Undefined in tests of one engine. */
  readonly node: NodeIdentity | undefined
  readonly digests: ReplicaDigests | undefined
  /** Answers a request of the side `any`. */
  readonly answer: (partition: Partition, payload: Uint8Array) => Promise<Uint8Array>
  /** Who waits at this side of the partition is told to go on elsewhere. */
  readonly release: (partition: Partition) => void
}

export class Replicas {
  readonly #options: ReplicasOptions
  readonly #followed = new Map<PartitionNumber, { readonly partition: Partition; readonly stop: () => Promise<void> }>()

  constructor(options: ReplicasOptions) {
    this.#options = options
  }

  /** The partition has caught up: it is good for reads. Calling it again is no mistake. */
  enter(partition: Partition): void {
    const { number } = partition
    if (this.#followed.get(number)?.partition === partition) return
    const { subjects, bus, node, digests, answer } = this.#options
    const handle = (payload: Uint8Array): Promise<Uint8Array> => answer(partition, payload)
    const stops = [bus.serve(subjects.rpcAny(number), handle, { queue: QUEUE })]
    if (node !== undefined)
      stops.push(bus.serve(subjects.rpcOfNode(encodeToken(node.name, 'node name'), number), handle))
    const unlisten = digests && bus.listen(subjects.digests(number), (message) => digests.heard(number, message))
    this.#followed.set(number, {
      partition,
      stop: async () => {
        unlisten?.()
        await Promise.all(stops.map((stop) => stop()))
      },
    })
  }

  /** It is followed no more. Resolves when no request of it is answered any more. */
  async leave(number: PartitionNumber): Promise<void> {
    const followed = this.#followed.get(number)
    if (followed === undefined) return
    this.#followed.delete(number)
    this.#options.release(followed.partition)
    this.#options.digests?.forget(number)
    await followed.stop()
  }

  async close(): Promise<void> {
    this.#options.digests?.close()
    await Promise.all([...this.#followed.keys()].map((number) => this.leave(number)))
  }
}
