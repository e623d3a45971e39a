export type { JetStreamLogReader } from './log-reader.ts'
export type { StoreHeader, StoreOwner } from './lmdb-header.ts'
export { CarillonNode, type NodeOptions, openNode, type Workflows } from './node.ts'
export type { HostedPartition, HostedRole, PartitionHost } from './cluster/partition-host.ts'
export { DoorRelay, type DoorRelayOptions } from './door-relay.ts'
export { JetStreamLog, type JetStreamLogOptions } from './jetstream-log.ts'
export { JetStreamStoredJournal } from './stored-journal.ts'
export { LmdbStore } from './lmdb-store.ts'
export { NatsBus } from './nats-bus.ts'
export {
  type NatsCluster,
  type NatsClusterOptions,
  type NatsMember,
  type NatsMemberState,
  openNatsCluster,
} from './nats-cluster.ts'
export { freePort, type NatsProcess, type NatsProcessOptions, openNatsProcess } from './nats-process.ts'
export { type NodeCondition, NodeGroup, type NodeGroupOptions } from './node-group.ts'
export { type NodeProcess, type NodeProcessOptions, openNodeProcess } from './node-process.ts'
export { readPartitionOwners } from './partition-owners.ts'
export { type Cluster, type ClusterOptions, openCluster } from './cluster.ts'
export { type OpenedLmdbStore, openLmdbStore, type OpenLmdbStoreOptions } from './open-lmdb-store.ts'
export { loadWorkflows } from './load-workflows.ts'
export { processTreeOf, sendSignal } from './process-tree.ts'
