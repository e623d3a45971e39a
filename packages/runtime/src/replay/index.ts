export * from './refold.ts'
export type { RefoldEffect, RefoldOutcome } from './refold-effects.ts'
