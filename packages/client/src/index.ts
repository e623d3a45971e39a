export type { PublishAck } from './pub-ack.ts'
export { PipelinedPublisher, type PipelinedPublisherOptions, type PublishRequest } from './pipelined-publisher.ts'
export { type StatusWatch, watchStatus } from './connection-status.ts'
