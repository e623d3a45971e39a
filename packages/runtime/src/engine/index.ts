export * from './engine.ts'
export * from './engine-limits.ts'
export * from './failpoints.ts'
