/** What a node and the processes of its engines say to each other. */
import type { ErrorData } from '@carillon/runtime'
import type {
  CheckpointPace,
  EngineCounts,
  EngineLimits,
  EngineLoad,
  HostedPartition,
  Judgement,
  KeptHistory,
  NodeIdentity,
  TurnJudgement,
} from '@carillon/runtime/engine'
import type { ClusterRecord, Partition } from '@carillon/runtime/protocol'

import type { ConnectionFlags } from '../cli/connection-options.ts'
import type { WorkflowSummary } from '../cli/dev-message.ts'
import type { LogLevel } from '../cli/logger.ts'
import type { RemoteStatus } from '../node-host.ts'
import type { GuardLimits } from './guard-words.ts'

/** The descriptor into which the guard of an engine's process writes. The one behind it locks the data folder. */
export const GUARD_FD = 4

/** What holds for all engines of a node, and for as long as it runs. */
export interface EngineSettings {
  /** The files of the workflows. */
  readonly workflows: readonly string[]
  readonly connection: ConnectionFlags
  /** What the connection is called. */
  readonly name: string
  readonly logLevel: LogLevel
  readonly guard: GuardLimits
}

export interface EngineOrder {
  /** Which of the node's engines it is, where there are several. */
  readonly engine: number | undefined
  readonly record: ClusterRecord
  readonly dataDir: string
  /** Those that are its own from the start. */
  readonly partitions: readonly Partition[]
  readonly limits: Partial<EngineLimits> | undefined
  /** As `HostOptions` has them. */
  readonly name: string | undefined
  readonly node: NodeIdentity | undefined
  readonly checkpoints: Partial<CheckpointPace> | undefined
  readonly history: KeptHistory | undefined
  readonly judgements: readonly Judgement[]
  /** Tells of every turn for a while: the one before has crashed. */
  readonly isCareful: boolean
  /** The one before was ended from outside: its store is whole. */
  readonly isProven: boolean
}

export type EngineRequest =
  /** Loads the workflows, and connects. Answers with `EngineBuild`. */
  | { readonly op: 'load'; readonly settings: EngineSettings }
  /** Brings the rows of all partitions to the folders where so many engines look for them. */
  | {
      readonly op: 'arrange'
      readonly record: ClusterRecord
      readonly folders: readonly string[]
      readonly engines: number
    }
  /** Opens the engine; it has been started when this is answered. */
  | { readonly op: 'open'; readonly order: EngineOrder }
  | { readonly op: 'follow' | 'promote' | 'demote' | 'drop'; readonly partition: Partition }
  | { readonly op: 'effects-done'; readonly partition: Partition; readonly seq: number }
  /** Finishes what runs, commits, and ends. */
  | { readonly op: 'close' }

export function placeOfTurn({ partition, seq }: Pick<TurnJudgement, 'partition' | 'seq'>): string {
  return `${partition}/${seq}`
}

/** What an engine's process has loaded. */
export interface EngineBuild {
  readonly workflows: readonly WorkflowSummary[]
}

export interface EngineStatus {
  readonly hosted: readonly HostedPartition[]
  readonly counts: EngineCounts
  readonly load: EngineLoad
  readonly residents: number
  readonly remote: RemoteStatus
  readonly memoryBytes: number
  /** Judged turns that were left out, and whose instances are suspended in the store: `placeOfTurn` of each. */
  readonly settled: readonly string[]
}

/** From the node to an engine. */
export interface EngineCall {
  readonly id: number
  readonly request: EngineRequest
}

/** From an engine to its node. */
export type EngineMessage =
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly error: ErrorData }
  | { readonly kind: 'status'; readonly status: EngineStatus }
  /** Its own partitions of the start have caught up. */
  | { readonly kind: 'caught-up' }
  /** It cannot go on. */
  | { readonly kind: 'failed'; readonly error: ErrorData }
