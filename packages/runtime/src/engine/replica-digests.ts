/**
 * Compares what this node has made of its partitions with what their owners have: a difference means that code is not deterministic, that builds
 * disagree, or that a store is damaged, and is an alarm.
 *
 * Owns: the last samples of each partition, those of owners that have not been met here, and when they are told.
 * Does not own: the turns, nor who owns what; every replica samples the same inputs and hears everybody.
 *
 * Invariants
 * 1. A digest is taken right behind the turn of its input, so two of one input are of one state, whenever each replica came to it.
 * 2. Nothing is stopped by a difference: which side is right is for people to find out.
 */
import { briefDigestOf } from '../core/index.ts'
import type { Clock, Logger } from '../ports/index.ts'
import {
  DIGEST_SAMPLES_MAX,
  type DigestSample,
  encodeDigests,
  type InstanceKey,
  isRarelySampled,
  parseDigests,
  parseKey,
  type Partition,
} from '../protocol/index.ts'
import type { Resident } from './resident.ts'

/** What a node calls itself. */
export interface NodeIdentity {
  readonly name: string
  /** The release that it runs. */
  readonly build: string
}

/** Samples that are kept of one partition: of the last 65,000 inputs or so. */
const KEPT_MAX = DIGEST_SAMPLES_MAX
const TELL_EVERY_MS = 1000
/** An instance above this estimate, without its known ids, is sampled 16 times more rarely: taking its digest takes milliseconds. */
const LARGE_BYTES = 256 * 1024
/** Instances whose difference has been logged: it is seen again with every sample. */
const ALARMED_MAX = 1000

export interface ReplicaDigestsOptions {
  readonly node: NodeIdentity
  readonly clock: Clock
  readonly logger: Logger
  readonly publish: (partition: Partition, message: Uint8Array) => void
  readonly isOwner: (partition: Partition) => boolean
  readonly count: (what: 'digestsCompared' | 'digestsDiffering') => void
}

interface Theirs extends DigestSample {
  readonly node: string
  readonly build: string
}

/** Of one partition, by sequence, the eldest first. */
interface Samples {
  readonly own: Map<number, DigestSample>
  readonly theirs: Map<number, Theirs>
  untold: DigestSample[]
}

export class ReplicaDigests {
  readonly #options: ReplicaDigestsOptions
  readonly #samples = new Map<Partition, Samples>()
  readonly #alarmed = new Set<InstanceKey>()
  #cancelTell: (() => void) | undefined

  constructor(options: ReplicaDigestsOptions) {
    this.#options = options
  }

  /** Right behind the turn of an input that is sampled. */
  sample(partition: Partition, { key, instance: { data }, weight }: Resident, seq: number): void {
    if (weight - data.known.weight > LARGE_BYTES && !isRarelySampled(seq)) return
    const mine = { seq, key, digest: briefDigestOf(data), stateVersion: data.stateVersion }
    const samples = this.#of(partition)
    keep(samples.own, mine)
    const theirs = samples.theirs.get(seq)
    if (theirs !== undefined) this.#compare(partition, mine, theirs)
    if (!this.#options.isOwner(partition)) return
    samples.untold.push(mine)
    if (samples.untold.length >= DIGEST_SAMPLES_MAX) this.#tellOf(partition, samples)
    else this.#cancelTell ??= this.#options.clock.after(TELL_EVERY_MS, () => this.#tell())
  }

  /** What somebody tells of a partition. */
  heard(partition: Partition, bytes: Uint8Array): void {
    const message = parseDigests(bytes)
    if (message === undefined || message.node === this.#options.node.name) return
    const { node, build } = message
    const samples = this.#of(partition)
    for (const sample of message.samples) {
      const theirs = { ...sample, node, build }
      const mine = samples.own.get(sample.seq)
      if (mine === undefined) keep(samples.theirs, theirs)
      else this.#compare(partition, mine, theirs)
    }
  }

  /** The samples of some instances, the eldest first. */
  of(partition: Partition, keys: ReadonlySet<InstanceKey>): readonly DigestSample[] {
    return [...(this.#samples.get(partition)?.own.values() ?? [])].filter(({ key }) => keys.has(key))
  }

  forget(partition: Partition): void {
    this.#samples.delete(partition)
  }

  close(): void {
    this.#cancelTell?.()
    this.#samples.clear()
  }

  #of(partition: Partition): Samples {
    let samples = this.#samples.get(partition)
    if (samples === undefined) {
      samples = { own: new Map(), theirs: new Map(), untold: [] }
      this.#samples.set(partition, samples)
    }
    return samples
  }

  #tell(): void {
    this.#cancelTell = undefined
    for (const [partition, samples] of this.#samples) if (samples.untold.length > 0) this.#tellOf(partition, samples)
  }

  #tellOf(partition: Partition, samples: Samples): void {
    const { node, publish } = this.#options
    publish(partition, encodeDigests({ node: node.name, build: node.build, samples: samples.untold }))
    samples.untold = []
  }

  #compare(partition: Partition, mine: DigestSample, theirs: Theirs): void {
    const { node, logger, count } = this.#options
    this.#samples.get(partition)?.theirs.delete(mine.seq)
    if (mine.key !== theirs.key || mine.stateVersion !== theirs.stateVersion) return
    count('digestsCompared')
    if (mine.digest === theirs.digest) return
    count('digestsDiffering')
    if (this.#alarmed.has(mine.key)) return
    if (this.#alarmed.size >= ALARMED_MAX) this.#alarmed.clear()
    this.#alarmed.add(mine.key)
    logger.error(
      {
        ...parseKey(mine.key),
        partition,
        seq: mine.seq,
        here: { node: node.name, build: node.build, digest: mine.digest },
        there: { node: theirs.node, build: theirs.build, digest: theirs.digest },
      },
      'an instance has come to another state here than at the owner of its partition: docs/operations.md says what to do',
    )
  }
}

/** Keeps the newest. */
function keep<T extends DigestSample>(samples: Map<number, T>, sample: T): void {
  samples.set(sample.seq, sample)
  if (samples.size <= KEPT_MAX) return
  const [eldest] = samples.keys()
  if (eldest !== undefined) samples.delete(eldest)
}
