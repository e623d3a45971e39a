/**
 * One node of a cluster serves at a time; the others stand by until it is gone.
 *
 * Owns: the key `active` in the cluster's bucket, whose revision is the epoch, and the subject on which the active node answers.
 * Does not own: what the active node does.
 *
 * Invariants
 * 1. A node becomes active only by compare-and-set, and only after nobody has answered: two that try at once do not both succeed.
 * 2. A node that finds another's name behind the key tells so at once. What it still does until then is harmless: inputs, effects and results
 *    carry ids, and receivers drop repeats.
 */
import { CarillonError } from '@carillon/runtime'
import type { Clock, Logger } from '@carillon/runtime/ports'
import { type Subjects } from '@carillon/runtime/protocol'
import { jetstream } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { errors, type NatsConnection, type Subscription } from '@nats-io/transport-node'

const KEY = 'active'
/** An answer on a busy machine takes this long at most; "no responders" comes at once. */
const ANSWER_MS_MAX = 1000
/** Silences in a row, without "no responders", before the active node counts as hung. */
const SILENCES_MAX = 3
const LOOK_EVERY_MS = 250
const CHECK_EVERY_MS = 1000

export interface ActiveNodeOptions {
  readonly nc: NatsConnection
  readonly subjects: Subjects
  readonly name: string
  readonly clock: Clock
  readonly logger: Logger
  /** Called once when another node has become active. */
  readonly onLost: (error: unknown) => void
}

/** The right to serve, held until `release`. */
export class ActiveNode {
  readonly #options: ActiveNodeOptions
  readonly #bucket: KV
  readonly #subscription: Subscription
  readonly #epoch: number
  #cancelCheck: () => void
  #isReleased = false

  private constructor(options: ActiveNodeOptions, bucket: KV, epoch: number) {
    this.#options = options
    this.#bucket = bucket
    this.#epoch = epoch
    this.#subscription = options.nc.subscribe(activeSubject(options.subjects), {
      callback: (_, message) => void message.respond(options.name),
    })
    this.#cancelCheck = this.#planCheck()
  }

  /** Waits until no other node is active, and takes its place. Rejects with the signal's reason when aborted. */
  static async acquire(options: ActiveNodeOptions, signal: AbortSignal): Promise<ActiveNode> {
    const { nc, subjects, clock, logger, name } = options
    const bucket = await new Kvm(jetstream(nc)).open(subjects.clusterBucket)
    let told = false
    for (let silences = 0; ;) {
      signal.throwIfAborted()
      const other = await askActive(nc, subjects)
      silences = other.kind === 'silent' ? silences + 1 : 0
      if (other.kind === 'absent' || silences >= SILENCES_MAX) {
        const epoch = await take(bucket, name)
        if (epoch !== undefined) return new ActiveNode(options, bucket, epoch)
      } else if (other.kind === 'answers' && !told) {
        told = true
        logger.info({ active: other.name }, 'another node serves this cluster: standing by')
      }
      await new Promise<void>((resolve) => void clock.after(LOOK_EVERY_MS, resolve))
    }
  }

  /** Stops answering, so that the next node may go on. */
  async release(): Promise<void> {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#cancelCheck()
    if (!this.#options.nc.isClosed()) await this.#subscription.drain()
  }

  #planCheck(): () => void {
    return this.#options.clock.after(CHECK_EVERY_MS, () => {
      this.#check()
        // While JetStream cannot be read nobody can have taken over by it either.
        .catch(() => undefined)
        .finally(() => {
          if (!this.#isReleased) this.#cancelCheck = this.#planCheck()
        })
    })
  }

  async #check(): Promise<void> {
    const entry = await this.#bucket.get(KEY)
    if (this.#isReleased || entry === null || entry.revision === this.#epoch) return
    this.#isReleased = true
    this.#subscription.unsubscribe()
    this.#options.onLost(
      new CarillonError(
        'NOT_OWNER',
        `the node ${entry.string()} serves this cluster now (epoch ${entry.revision}, ours was ${this.#epoch}): this node was taken for dead; start it again`,
      ),
    )
  }
}

function activeSubject({ namespace }: Subjects): string {
  return `${namespace}.node.active`
}

type Active =
  | { readonly kind: 'answers'; readonly name: string }
  | { readonly kind: 'silent' }
  | { readonly kind: 'absent' }

async function askActive(nc: NatsConnection, subjects: Subjects): Promise<Active> {
  try {
    return {
      kind: 'answers',
      name: (await nc.request(activeSubject(subjects), undefined, { timeout: ANSWER_MS_MAX })).string(),
    }
  } catch (error) {
    const absent =
      error instanceof errors.NoRespondersError || (error instanceof errors.RequestError && error.isNoResponders())
    return { kind: absent ? 'absent' : 'silent' }
  }
}

/** The new epoch, or undefined when another node was faster. */
async function take(bucket: KV, name: string): Promise<number | undefined> {
  const entry = await bucket.get(KEY)
  try {
    return await bucket.put(KEY, name, { previousSeq: entry?.revision ?? 0 })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 10071) return undefined
    throw error
  }
}
