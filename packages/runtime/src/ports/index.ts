export * from './input-log.ts'
export * from './ordered-store.ts'
