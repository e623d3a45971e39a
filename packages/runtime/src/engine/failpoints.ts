/** Named points of the commit path at which a test may end the process. */
export const FAILPOINTS = [
  'after-apply',
  'before-commit',
  'in-commit',
  'after-commit',
  'after-emit',
  'before-append',
  'after-append',
  'in-checkpoint',
  'in-restore',
] as const
export type Failpoint = (typeof FAILPOINTS)[number]

/** Called at each point. In production it does nothing. */
export type ReachFailpoint = (point: Failpoint) => void

export const noFailpoints: ReachFailpoint = () => {}
