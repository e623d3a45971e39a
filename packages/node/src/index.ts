export { freePort, type NatsProcess, type NatsProcessOptions, openNatsProcess } from './nats-process.ts'
