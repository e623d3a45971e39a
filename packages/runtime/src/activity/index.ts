export * from './activity-call.ts'
export * from './activity-lanes.ts'
export * from './activity-policy.ts'
export * from './attempt.ts'
