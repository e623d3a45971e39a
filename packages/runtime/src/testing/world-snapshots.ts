/** Remote snapshots for the engine of an `EngineWorld`, as a node composes them. */
import {
  CHECKPOINT_PACE,
  Checkpointer,
  type Engine,
  type EngineOptions,
  restoreWhereNeeded,
  TrackedStore,
} from '../engine/index.ts'
import { type OrderedStore, type Snapshots, systemClock } from '../ports/index.ts'

export interface WorldSnapshotsOptions {
  readonly snapshots: Snapshots
  readonly store: OrderedStore
  readonly ports: Pick<EngineOptions, 'log' | 'logger'>
  readonly identity: string
  readonly engine: () => Engine | undefined
}

/** What the engine is given, and how its partitions are saved. */
export interface WorldSnapshots {
  readonly store: OrderedStore
  readonly restore: NonNullable<EngineOptions['restore']>
  /** Saves every partition that the engine owns. */
  readonly save: () => Promise<void>
}

export function snapshotsOf({ snapshots, store, ports, identity, engine }: WorldSnapshotsOptions): WorldSnapshots {
  // Rests are the host's: a world stands still while its test waits for a round.
  const common = { ...ports, store, snapshots, clock: systemClock, reach: () => {} }
  const checkpointer = new Checkpointer({
    ...common,
    identity,
    writer: 'a node of the world',
    pace: { ...CHECKPOINT_PACE, bytesPerS: Infinity, messagesPerS: Infinity, restMs: 0, settleMs: 0 },
    savePositions: async () => engine()?.savePositions(),
    hosted: () => (engine()?.hosted() ?? []).map(({ partition, role }) => ({ partition, isOwner: role === 'owner' })),
  })
  return {
    store: new TrackedStore(store),
    restore: async (partition, bounds) => {
      await restoreWhereNeeded({ ...common, decoded: store }, partition, bounds)
    },
    save: () => checkpointer.round(),
  }
}
