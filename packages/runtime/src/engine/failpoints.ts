/** Named points of the commit path at which a test may end the process, in the order of events. */
export const COMMIT_FAILPOINTS = [
  'after-apply',
  'before-commit',
  'in-commit',
  'after-commit',
  'after-emit',
  'before-append',
  'after-append',
] as const

/** All of them. In a checkpoint, its segment is stored and no head names it; in a restore, some of the rows are there. */
export const FAILPOINTS = [...COMMIT_FAILPOINTS, 'in-checkpoint', 'in-restore'] as const
export type Failpoint = (typeof FAILPOINTS)[number]

/** Called at each point. In production it does nothing. */
export type ReachFailpoint = (point: Failpoint) => void

export const noFailpoints: ReachFailpoint = () => {}
