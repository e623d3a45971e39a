/** The ownership records in the cluster's KV bucket. */
import { formatOwner, type OwnerRecord, parseOwner, type Partition, type Subjects } from '@carillon/runtime/protocol'
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'

import type { OwnerStore, StoredOwner } from './owner-store.ts'

/** An answer takes milliseconds, or the stream has no leader. */
const REQUEST_MS = 2000
const WRONG_LAST_SEQUENCE = 10071
/** Keys asked for at once: nats-server takes 1024 in one request. */
const KEYS_MAX = 512

export class KvOwnerStore implements OwnerStore {
  readonly #manager: JetStreamManager
  readonly #subjects: Subjects
  readonly #stream: string

  private constructor(manager: JetStreamManager, subjects: Subjects) {
    this.#manager = manager
    this.#subjects = subjects
    this.#stream = `KV_${subjects.clusterBucket}`
  }

  /** `apiPrefix`: where JetStream's API is, in an account that imports it. */
  static async open(nc: NatsConnection, subjects: Subjects, apiPrefix?: string): Promise<KvOwnerStore> {
    const api = apiPrefix === undefined ? {} : { apiPrefix }
    return new KvOwnerStore(await jetstreamManager(nc, { checkAPI: false, timeout: REQUEST_MS, ...api }), subjects)
  }

  async readAll(): Promise<readonly StoredOwner[]> {
    const all = Array.from({ length: this.#subjects.partitions }, (_, number) => number as Partition)
    const groups = Array.from({ length: Math.ceil(all.length / KEYS_MAX) }, (_, i) =>
      all.slice(i * KEYS_MAX, (i + 1) * KEYS_MAX),
    )
    return (await Promise.all(groups.map((group) => withDeadline(this.#readGroup(group))))).flat()
  }

  async read(partition: Partition): Promise<StoredOwner> {
    const stored = await this.#manager.streams.getMessage(this.#stream, {
      last_by_subj: this.#subjects.owner(partition),
    })
    if (stored === null) return { partition, record: undefined, revision: 0 }
    return toStored(partition, stored.header.has('KV-Operation') ? '' : stored.string(), stored.seq)
  }

  async compareAndSet(partition: Partition, record: OwnerRecord, revision: number): Promise<number | undefined> {
    try {
      const { seq } = await this.#manager.jetstream().publish(this.#subjects.owner(partition), formatOwner(record), {
        expect: { lastSubjectSequence: revision },
        timeout: REQUEST_MS,
      })
      return seq
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE) return undefined
      throw error
    }
  }

  /** One request to any replica. */
  async #readGroup(partitions: readonly Partition[]): Promise<readonly StoredOwner[]> {
    const missing = new Set(partitions)
    const stored: StoredOwner[] = []
    const messages = await this.#manager.direct.getLastMessagesFor(this.#stream, {
      multi_last: partitions.map((partition) => this.#subjects.owner(partition)),
    })
    for await (const message of messages) {
      const partition = this.#subjects.parseOwner(message.subject)
      if (partition === undefined) continue
      missing.delete(partition)
      stored.push(toStored(partition, message.header.has('KV-Operation') ? '' : message.string(), message.seq))
    }
    return [...stored, ...[...missing].map((partition) => ({ partition, record: undefined, revision: 0 }))]
  }
}

/** What is no record, or was removed with another tool, counts as none; the revision is what it must be changed from. */
function toStored(partition: Partition, text: string, revision: number): StoredOwner {
  return { partition, record: parseOwner(text), revision }
}

/** The library's own time-out is longer, and does not count from the last message. */
async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let cancel = (): void => {}
  const late = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${REQUEST_MS} ms`)), REQUEST_MS)
    cancel = () => clearTimeout(timer)
  })
  work.catch(() => undefined)
  try {
    return await Promise.race([work, late])
  } finally {
    cancel()
  }
}
