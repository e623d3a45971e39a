export { CodecStore } from './codec-store.ts'
export * from './engine.ts'
export * from './engine-limits.ts'
export * from './failpoints.ts'
