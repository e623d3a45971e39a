/** Who owns what, looked at again and again. */
import { setTimeout as delay } from 'node:timers/promises'

import { readPartitionOwners } from '@carillon/node'
import { encodeToken, type Subjects } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

const LOOK_EVERY_MS = 100

export class OwnerView {
  readonly #nc: NatsConnection
  readonly #subjects: Subjects
  #owners: readonly (string | undefined)[] = []

  constructor(nc: NatsConnection, subjects: Subjects) {
    this.#nc = nc
    this.#subjects = subjects
  }

  /** Looks until aborted. While JetStream does not answer, what was seen last stands. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look().catch(() => undefined)
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  async look(): Promise<void> {
    this.#owners = (await readPartitionOwners(this.#nc, this.#subjects)).map((record) => record?.node)
  }

  /** The partitions of a node. */
  partitionsOf(name: string): ReadonlySet<number> {
    return new Set(this.#owners.flatMap((owner, partition) => (owner === name ? [partition] : [])))
  }

  partitionOf(type: string, id: string): number {
    return this.#subjects.partitionOf(encodeToken(type), encodeToken(id))
  }

  /** Resolves when every partition has an owner that `isOwner` accepts. */
  async until(isOwner: (name: string, partition: number) => boolean, signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#owners.length > 0 && this.#owners.every((name, p) => name !== undefined && isOwner(name, p))) return
      await delay(LOOK_EVERY_MS, undefined, { signal })
    }
  }
}
