/**
 * A cluster as one sees it from outside: ownership records, heartbeats, and when ownership is written.
 *
 * It asks the nodes nothing, so that what is measured is not changed by it.
 */
import { readPartitionOwners } from '@carillon/node'
import { type NodeBeat, type OwnerRecord, parseBeat, type Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection, Subscription } from '@nats-io/transport-node'

export interface OwnerWrite {
  readonly partition: number
  readonly atMs: number
}

const LOOK_EVERY_MS = 50
/** Several heartbeats. */
const SILENT_MS = 1500

export class ClusterWatch {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  readonly #subscriptions: readonly Subscription[]
  readonly #beats = new Map<string, { readonly beat: NodeBeat; readonly atMs: number }>()
  #writes: OwnerWrite[] = []
  #lastWriteMs = performance.now()

  constructor(nc: NatsConnection, subjects: Subjects) {
    this.#nc = nc
    this.#subjects = subjects
    this.#subscriptions = [
      nc.subscribe(subjects.nodeBeat, { callback: (_, { data }) => this.#onBeat(data) }),
      // A write of a record is a message on its subject, whether the stream takes it or not.
      nc.subscribe(subjects.ownerAll, { callback: (_, { subject }) => this.#onWrite(subject) }),
    ]
  }

  owners(): Promise<readonly (OwnerRecord | undefined)[]> {
    return readPartitionOwners(this.#nc, this.#subjects)
  }

  /** Ownership writes since the last call, those that lost their compare-and-set among them. */
  takeWrites(): readonly OwnerWrite[] {
    return this.#writes.splice(0)
  }

  beatOf(name: string): NodeBeat | undefined {
    return this.#beats.get(name)?.beat
  }

  /**
   * Resolves when every node is live, every partition is served by the owner that its record names, and has so many standbys that have caught up with it.
   *
   * @throws what is missing, when it is not so in time.
   */
  async settled(names: readonly string[], standbys: number, withinMs: number): Promise<void> {
    const deadlineMs = performance.now() + withinMs
    for (;;) {
      const missing = await this.#missing(names, standbys)
      if (missing === undefined) return
      if (performance.now() > deadlineMs)
        throw new Error(`the cluster is not settled within ${withinMs} ms: ${missing}`)
      await new Promise((resolve) => void setTimeout(resolve, LOOK_EVERY_MS))
    }
  }

  /** Resolves when nobody has written an ownership record for so long. @throws when that is not so in time. */
  async atRest(forMs: number, withinMs: number): Promise<void> {
    const deadlineMs = performance.now() + withinMs
    while (performance.now() - this.#lastWriteMs < forMs) {
      if (performance.now() > deadlineMs) throw new Error(`ownership does not come to rest within ${withinMs} ms`)
      await new Promise((resolve) => void setTimeout(resolve, LOOK_EVERY_MS))
    }
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  async #missing(names: readonly string[], standbys: number): Promise<string | undefined> {
    const owners = await this.owners()
    const beats = names.map((name) => this.#beats.get(name))
    const nowMs = performance.now()
    const silent = names.filter((_, i) => {
      const known = beats[i]
      return known === undefined || known.beat.state !== 'live' || nowMs - known.atMs > SILENT_MS
    })
    if (silent.length > 0) return `no heartbeat of ${silent.join(', ')}`
    for (const [partition, owner] of owners.entries()) {
      if (owner === undefined) return `partition ${partition} has no owner`
      const roles = beats.flatMap((known) => {
        const hosted = known?.beat.partitions.find((other) => other.partition === partition)
        return hosted === undefined || known === undefined ? [] : [{ node: known.beat.node, role: hosted.role }]
      })
      if (!roles.some(({ node, role }) => node === owner.node && role === 'owner'))
        return `partition ${partition} is not served by ${owner.node}`
      if (roles.filter(({ role }) => role === 'standby').length < standbys)
        return `partition ${partition} has too few standbys that have caught up`
      if (roles.some(({ role }) => role === 'promoting' || role === 'catching-up'))
        return `partition ${partition} is on its way somewhere`
    }
    return undefined
  }

  #onBeat(data: Uint8Array): void {
    const beat = parseBeat(data, this.#subjects.partitions)
    if (beat !== undefined) this.#beats.set(beat.node, { beat, atMs: performance.now() })
  }

  #onWrite(subject: string): void {
    const partition = this.#subjects.parseOwner(subject)
    if (partition === undefined) return
    this.#lastWriteMs = performance.now()
    this.#writes.push({ partition, atMs: this.#lastWriteMs })
  }
}
