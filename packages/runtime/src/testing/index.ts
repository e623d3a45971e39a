export * from './memory-log.ts'
export * from './memory-store.ts'
