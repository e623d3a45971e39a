export type { PublishAck } from './pub-ack.ts'
export { inboxOf } from './inbox.ts'
export { PipelinedPublisher, type PipelinedPublisherOptions, type PublishRequest } from './pipelined-publisher.ts'
export { type StatusWatch, watchStatus } from './connection-status.ts'
export { Carillon } from './carillon.ts'
export { connect, type ConnectOptions } from './connect.ts'
export { type ConnectionTarget, type NatsOptions, openConnection } from './connection.ts'
export type { PausedParts } from './controls.ts'
export { Deadline } from './deadline.ts'
export type { DeadLetter, DeadLetterOptions, RedriveOptions } from './dead-letters.ts'
export type { Journal, JournalBounds } from './journal.ts'
export type { CountOptions } from './count-instances.ts'
export type { InstancePage, ListOptions, PageOptions } from './list-instances.ts'
export { JetStreamControls, type JetStreamControlsOptions } from './jetstream-controls.ts'
export type {
  SignalFailure,
  SignalItem,
  SignalManyOptions,
  SignalManyProgress,
  SignalManyResult,
} from './signal-many.ts'
export { ensureConsumer, type QueuedActivity } from './queue-consumer.ts'
export type { QueueRow } from './queues.ts'
export { readCluster } from './read-cluster.ts'
export type { AnyShape } from './target.ts'
export type { Worker, WorkerCounts, WorkerOptions } from './worker.ts'
export type { TaskDeedOptions, TaskFailure } from './tasks.ts'
export { WorkflowHandle } from './workflow-handle.ts'
export type {
  Accepted,
  DescribeOptions,
  HistoryEntry,
  HistoryOptions,
  NamedSignal,
  NamedUpdate,
  ReadOptions,
  ResultOf,
  SendOptions,
  SignalWithStart,
  StartArgs,
  StartedUpdate,
  StartOptions,
  StartRules,
  UpdateOptions,
  UpdateResult,
  UpdateWithStart,
} from '@carillon/runtime'
