/** What applies the partitions of a node: an engine in its own process (compose-host.ts), or several in processes of their own (engines/). */
import type { CheckpointStatus, EngineCounts, EngineLoad } from '@carillon/runtime/engine'

import type { PartitionHost } from './cluster/partition-host.ts'
import { type ComposedHost, composeHost, type HostOptions } from './compose-host.ts'

/** What of the partitions that a node owns is saved remotely, and what of the journal it has trimmed. */
export interface RemoteStatus {
  readonly checkpoints: readonly CheckpointStatus[]
  /** Messages of the journal, since the start. */
  readonly trimmed: number
  /** Of snapshots, since the start. */
  readonly checkpointBytes: number
}

export interface NodeHost extends PartitionHost {
  /** Resolves when the partitions that are its own from the start have caught up, and their effects go out. */
  readonly caughtUp: Promise<void>
  /** Counted since the start. */
  readonly counts: Readonly<EngineCounts>
  readonly load: EngineLoad
  /** Instances in memory. */
  readonly residents: number
  readonly remote: RemoteStatus
  /** Saves the partitions that it owns, without waiting for the next round; undefined where the engines are processes of their own. */
  readonly saveNow?: () => Promise<void>
  /** Begins to apply. Throws as `Engine.start`. */
  start(): Promise<void>
  /** Finishes what runs, commits, and closes the data; not the connection that it was given. */
  close(): Promise<void>
}

/** How a host comes to be: its data are opened, and nothing is applied yet. */
export type OpenHost = (options: HostOptions) => Promise<NodeHost>

/** An engine in this process. Nobody watches its turns: one that never returns holds up the process. */
export const openLocalHost: OpenHost = async (options) => {
  const host = await composeHost(options)
  const { engine } = host
  return {
    get caughtUp() {
      return engine.caughtUp
    },
    get counts() {
      return engine.counts
    },
    get load() {
      return engine.load
    },
    get residents() {
      return engine.residents
    },
    get remote() {
      return remoteStatusOf(host)
    },
    saveNow: () => host.remote.saveNow(),
    start: () => engine.start(),
    close: () => host.close(),
    hosted: () => engine.hosted(),
    follow: (partition) => engine.follow(partition),
    promote: (partition) => engine.promote(partition),
    demote: (partition) => engine.demote(partition),
    drop: (partition) => engine.drop(partition),
    effectsDone: (partition, seq) => engine.effectsDone(partition, seq),
  }
}

export function remoteStatusOf({ remote }: ComposedHost): RemoteStatus {
  return { checkpoints: remote.status, trimmed: remote.trimmed, checkpointBytes: remote.bytesStored }
}
