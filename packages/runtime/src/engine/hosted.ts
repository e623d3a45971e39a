/**
 * One partition as an engine hosts it: its fold, what is pending of it, and how far it has come on the way to its owner.
 *
 * Owns: the role, and what lives as long as the role does.
 * Does not own: the changes of roles, which are the engine's.
 *
 * Invariants
 * 1. Roles go `catching-up`, `standby`, `promoting`, `owner`; an owner may become a standby again.
 * 2. `pending` and `pendingSends` are there exactly while effects go out. Those of earlier spells as owner are forgotten: the store knows what is pending.
 */
import { CarillonError } from '../errors.ts'
import type { OrderedStore } from '../ports/index.ts'
import type { Partition as PartitionNumber } from '../protocol/index.ts'
import type { Partition } from './partition.ts'
import { type PendingEffect } from './pending-effect.ts'
import { PendingEffects } from './pending-effects.ts'

/**
 * - `catching-up`: on the way to the journal's end, beside the others.
 * - `standby`: applied with the others, muted.
 * - `promoting`: as a standby, until the journal is applied up to where it ended when it was promoted.
 * - `owner`: its effects go out, and requests are answered.
 */
export type HostedRole = 'catching-up' | 'standby' | 'promoting' | 'owner'

/** How a partition stands in an engine. */
export interface HostedPartition {
  readonly partition: PartitionNumber
  readonly role: HostedRole
  /** Everything of the journal up to here is applied. */
  readonly appliedSeq: number
  /** Of an owner: every send and dead letter of inputs up to here is stored, so that standbys may forget theirs; 0 of others. */
  readonly effectsDoneSeq: number
}

export interface HostedOptions {
  readonly store: OrderedStore
  readonly admit: (effect: PendingEffect) => boolean
  /** Sends go apart from the others, so that activities that wait hold back no signal. */
  readonly admitSend: (effect: PendingEffect) => boolean
  readonly laneOf: (effect: PendingEffect) => unknown
}

export class Hosted {
  readonly partition: Partition
  role: HostedRole
  /** While it catches up by itself: applied up to here. */
  caughtUpSeq: number
  /** Of one that is being promoted: goes live when the journal is applied up to here. */
  goLiveSeq = Infinity
  /** A reader catches up for it. */
  isJoined = false
  /** Its going live has begun: the next collect unmutes it. */
  isGoingLive = false
  pending: PendingEffects | undefined
  pendingSends: PendingEffects | undefined
  stopServing: (() => Promise<void>) | undefined
  readonly #options: HostedOptions
  #promoted: Promise<void> | undefined
  #settle: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined

  constructor(partition: Partition, role: HostedRole, options: HostedOptions) {
    this.partition = partition
    this.role = role
    this.caughtUpSeq = partition.position
    this.#options = options
  }

  get number(): PartitionNumber {
    return this.partition.number
  }

  /** Its inputs are applied with those of the others. */
  get isAttached(): boolean {
    return this.role !== 'catching-up'
  }

  get isMuted(): boolean {
    return this.pending === undefined
  }

  /** Resolves when it has become the owner; rejects when it was demoted or dropped before. */
  get promoted(): Promise<void> | undefined {
    return this.#promoted
  }

  /** It is to become the owner. */
  promote(): void {
    this.role = 'promoting'
    if (this.partition.watch !== undefined) this.partition.watch.isStandby = false
    this.goLiveSeq = Infinity
    this.#promoted = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    this.#promoted.catch(() => {})
  }

  /** Effects go out from now on; those that are pending are in the store. */
  unmute(): void {
    const { store, admit, admitSend, laneOf } = this.#options
    const of = { partition: this.number, store }
    this.pending = new PendingEffects({ ...of, admit, laneOf })
    this.pendingSends = new PendingEffects({ ...of, admit: admitSend, laneOf: ({ kind }) => kind })
    this.partition.unmute()
  }

  becomeOwner(): void {
    this.role = 'owner'
    this.isGoingLive = false
    this.#settle?.resolve()
    this.#promoted = undefined
  }

  /** Nothing goes out any more. Between two turns. `reason`: why it is not promoted, to whoever waits for it. */
  becomeStandby(reason?: unknown): void {
    this.role = 'standby'
    this.isGoingLive = false
    this.pending = undefined
    this.pendingSends = undefined
    this.partition.mute()
    this.#settle?.reject(
      reason ??
        new CarillonError('NOT_OWNER', `partition ${this.number} is not promoted any more: another node takes it`),
    )
    this.#promoted = undefined
  }
}
