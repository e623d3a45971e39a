/** Listens to the heartbeats of the nodes: who owns what. */
import { join } from 'node:path'

import { parseBeat } from '@carillon/runtime/protocol'
import type { NatsConnection } from '@nats-io/transport-node'

import { FILES, type Owning } from '../histories.ts'
import { LineFile } from '../processes/line-file.ts'

export class OwnerWatch {
  readonly #file: LineFile
  readonly #said = new Map<string, string>()
  readonly #owners = new Set<string>()

  constructor(nc: NatsConnection, namespace: string, folder: string) {
    this.#file = new LineFile(join(folder, FILES.owners))
    nc.subscribe(`${namespace}.node.beat`, { callback: (_, message) => this.#heard(message.data) })
  }

  /** How many nodes have owned something. */
  get count(): number {
    return this.#owners.size
  }

  flush(): Promise<void> {
    return this.#file.flush()
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  #heard(bytes: Uint8Array): void {
    const beat = parseBeat(bytes)
    if (beat === undefined) return
    const { node, incarnation, partitions } = beat
    const owned = partitions
      .filter(({ role }) => role === 'owner')
      .map(({ partition, epoch }): [number, number] => [partition, epoch])
    const text = JSON.stringify(owned)
    if (this.#said.get(incarnation) === text) return
    this.#said.set(incarnation, text)
    if (owned.length > 0) this.#owners.add(node)
    this.#file.write({ node, incarnation, owned } satisfies Owning)
  }
}
