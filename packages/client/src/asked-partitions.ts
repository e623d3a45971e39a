/** Asks many partitions the same: some at once, because most are nearly empty and one round trip each in turn would add up. */
import { type CarillonError, hasCode, type ReadFrom } from '@carillon/runtime'
import type { Partition, RpcRequest } from '@carillon/runtime/protocol'

import { Deadline } from './deadline.ts'
import { READ_TIMEOUT_MS } from './limits.ts'
import type { Session } from './session.ts'

export interface MissingOptions {
  /** Which node of each partition may answer; default as `connect` was told. */
  readonly from?: ReadFrom | undefined
  /** How long the owners of the partitions may take for an answer; default 15,000. */
  readonly timeoutMs?: number | undefined
  /**
   * Makes an answer without some partitions good enough: called for each whose owner gave none in time, whose instances are left out then. Without it
   * such a partition is an error that names it.
   */
  readonly onMissing?: ((partition: number, error: CarillonError) => void) | undefined
}

const AT_ONCE = 16
/** How long a node may hold a request for what it has not come to yet. */
const HOLD_MS = 2_000

export class AskedPartitions {
  readonly #session: Session
  readonly #what: string
  readonly #options: MissingOptions
  readonly #deadline: Deadline
  readonly atOnce = AT_ONCE

  constructor(session: Session, what: string, options: MissingOptions) {
    this.#session = session
    this.#what = what
    this.#options = options
    this.#deadline = new Deadline(options.timeoutMs ?? READ_TIMEOUT_MS)
  }

  /**
   * The answers in the order of the partitions; undefined for one that is missing.
   *
   * @throws NO_NODE, TIMEOUT when a partition gives no answer, unless `onMissing` is there. @throws what an owner answers.
   */
  ask<Answer>(
    partitions: readonly number[],
    request: (partition: number, index: number) => RpcRequest & { readonly op: 'list' | 'count' },
  ): Promise<(Answer | undefined)[]> {
    const { onMissing, timeoutMs = READ_TIMEOUT_MS } = this.#options
    // Where some may be missing, the others get their time all the same.
    const deadline = onMissing === undefined ? this.#deadline : new Deadline(timeoutMs)
    const asked = partitions.map(async (partition, index) => {
      const call = {
        partition: partition as Partition,
        what: `${this.#what} of partition ${partition}`,
        deadline,
        holdMs: HOLD_MS,
        request: (waitMs: number) => ({ ...request(partition, index), waitMs }),
        from: this.#options.from ?? this.#session.readsFrom,
        isRead: true,
      }
      try {
        return (await this.#session.track(() => this.#session.rpc.call(call))) as Answer
      } catch (error) {
        if (onMissing === undefined || !(hasCode(error, 'NO_NODE') || hasCode(error, 'TIMEOUT'))) throw error
        onMissing(partition, error as CarillonError)
        return undefined
      }
    })
    return Promise.all(asked)
  }
}
