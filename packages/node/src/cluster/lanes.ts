/**
 * One action per partition at a time, and a pause behind one that failed.
 *
 * Owns: what is under way, and when what failed may be tried again. Times are the host's monotonic ones.
 */
import type { Partition } from '@carillon/runtime/protocol'

import { RETRY_MS, RETRY_MS_MAX } from './cluster-timing.ts'

interface Lane {
  /** Undefined: nothing is under way. */
  kind: string | undefined
  failures: number
  retryAtMs: number
}

export class Lanes {
  readonly #lanes = new Map<Partition, Lane>()

  begin(partition: Partition, kind: string): void {
    const lane = this.#lanes.get(partition)
    this.#lanes.set(partition, { kind, failures: lane?.failures ?? 0, retryAtMs: 0 })
  }

  done(partition: Partition): void {
    this.#lanes.delete(partition)
  }

  /** How often in a row it has failed by now. */
  failed(partition: Partition, nowMs: number): number {
    const failures = (this.#lanes.get(partition)?.failures ?? 0) + 1
    const waitMs = Math.min(RETRY_MS * 2 ** Math.min(failures - 1, 10), RETRY_MS_MAX)
    this.#lanes.set(partition, { kind: undefined, failures, retryAtMs: nowMs + waitMs })
    return failures
  }

  busy(nowMs: number): ReadonlySet<Partition> {
    const busy = new Set<Partition>()
    for (const [partition, { kind, retryAtMs }] of this.#lanes)
      if (kind !== undefined || nowMs < retryAtMs) busy.add(partition)
    return busy
  }

  count(kind: string): number {
    let count = 0
    for (const lane of this.#lanes.values()) if (lane.kind === kind) count += 1
    return count
  }
}
