/** The faults of the cluster's demo, one after the other, each told when it happens and when it is over. */
import { setTimeout as delay } from 'node:timers/promises'

import type { NodeGroup } from '@carillon/node'

import { Loyalty } from '../contract.ts'
import type { Sample } from '../producer.ts'
import type { AckGaps } from './ack-gaps.ts'
import type { OwnerView } from './owner-view.ts'
import { Recovery } from './recovery.ts'

export type FaultKind = 'killed' | 'frozen' | 'drained'

export interface FaultResult {
  readonly kind: FaultKind
  readonly name: string
  readonly partitions: number
  readonly toNextAppliedMs: number
  /** Until another node owned all of its partitions. */
  readonly toNewOwnersMs: number
  readonly longestWaitMs: number
}

export interface ClusterFaultsOptions {
  readonly nodes: NodeGroup
  readonly owners: OwnerView
  readonly gaps: AckGaps
  readonly frozenMs: number
  readonly say: (text: string) => void
  readonly signal: AbortSignal
}

const RECOVERED_WITHIN_MS = 30_000
const SAID = {
  killed: 'is killed with SIGKILL',
  frozen: 'is frozen with SIGSTOP',
  drained: 'is asked to stop with SIGTERM, and drains',
} as const satisfies Record<FaultKind, string>

export class ClusterFaults {
  readonly #options: ClusterFaultsOptions
  readonly #results: FaultResult[] = []
  #recovery: Recovery | undefined

  constructor(options: ClusterFaultsOptions) {
    this.#options = options
  }

  get results(): readonly FaultResult[] {
    return this.#results
  }

  /** Tells of a signal that is known to be applied. */
  applied(sample: Sample): void {
    this.#recovery?.applied(sample)
  }

  /** Resolves when all three nodes are up again. */
  async strike(kind: FaultKind): Promise<void> {
    const { owners, gaps, say, signal } = this.#options
    await owners.look()
    const name = this.#victim()
    const partitions = owners.partitionsOf(name)
    say(`${name} ${SAID[kind]}; it owns ${partitions.size} partitions. ${this.#formatOwners()}`)
    gaps.enter(kind, performance.now())
    const faultMs = performance.now()
    const ended = this.#break(kind, name)
    // It is awaited below, when the customers are served again.
    ended.catch(() => undefined)
    if (kind === 'killed') await ended
    const recovery = new Recovery({
      faultMs,
      countsFromMs: performance.now(),
      isAffected: (customer) => partitions.has(owners.partitionOf(Loyalty.name, customer)),
    })
    this.#recovery = recovery
    const within = AbortSignal.any([signal, AbortSignal.timeout(RECOVERED_WITHIN_MS)])
    const taken = owners.until((owner, p) => owner !== name || !partitions.has(p), within)
    const toNewOwners = taken.then(() => performance.now() - faultMs)
    const toNextAppliedMs = await Promise.race([recovery.recovered, rejection(within)])
    say(`${name}'s customers: the next signal is applied ${toNextAppliedMs.toFixed(0)} ms after the fault`)
    const toNewOwnersMs = await toNewOwners
    say(`${name}'s partitions have new owners ${toNewOwnersMs.toFixed(0)} ms after the fault. ${this.#formatOwners()}`)
    await ended
    await this.#mend(kind, name)
    gaps.enter('in between', performance.now())
    const { longestWaitMs } = recovery
    this.#results.push({ kind, name, partitions: partitions.size, toNextAppliedMs, toNewOwnersMs, longestWaitMs })
  }

  async #break(kind: FaultKind, name: string): Promise<void> {
    const { nodes, frozenMs, signal } = this.#options
    if (kind === 'killed') return nodes.kill(name)
    if (kind === 'drained') return nodes.drain(name)
    nodes.freeze(name)
    await delay(frozenMs, undefined, { signal })
  }

  async #mend(kind: FaultKind, name: string): Promise<void> {
    const { nodes, say } = this.#options
    if (kind === 'frozen') {
      nodes.thaw(name)
      return say(`${name} goes on (SIGCONT): what it still believes to own is harmless, and it finds the new owners`)
    }
    say(`${name} is started again`)
    const { readyMs } = await nodes.start(name)
    say(`${name} has caught up, ${readyMs.toFixed(0)} ms after its start`)
  }

  /** Of the nodes that no fault has met yet, the one that owns most; once all have been met, of all. */
  #victim(): string {
    const { nodes, owners } = this.#options
    const { names } = nodes
    const met = new Set(this.#results.map(({ name }) => name))
    const owned = (name: string): number => owners.partitionsOf(name).size
    const candidates = names.filter((name) => !met.has(name) && owned(name) > 0)
    const [victim] = (candidates.length > 0 ? candidates : names).toSorted((a, b) => owned(b) - owned(a))
    if (victim === undefined || owned(victim) === 0) throw new Error('no node owns a partition')
    return victim
  }

  #formatOwners(): string {
    return formatOwners(this.#options.nodes.names, this.#options.owners)
  }
}

/** How many partitions each node owns. */
export function formatOwners(names: readonly string[], owners: OwnerView): string {
  return `Owners: ${names.map((name) => `${name} ${owners.partitionsOf(name).size}`).join(', ')}`
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
