/** Whether the fault run can fail: each planted bug must be found, and says by which check. */
import { notEnough } from './report.ts'
import { runClusters, type RunOptions } from './supervisor/run-clusters.ts'
import { PLANTED_BUGS, type PlantedBug } from './workloads/planted-bugs.ts'

/** What brings each of them to light. */
const FAULTS_FOR: Readonly<Record<PlantedBug, readonly string[]>> = {
  'standby-not-muted': ['kill one that serves'],
  'position-before-state': ['kill all'],
  'resume-off-by-one': ['kill all'],
  'trim-too-early': ['all data removed'],
  'dedupe-by-the-server-only': ['kill one that serves'],
}
const ROUNDS_MAX = 8

/** Gives the exit code: 0 when all were found, and nothing where none was planted. */
export async function findPlanted(options: RunOptions): Promise<number> {
  const missed: string[] = []
  const common = { ...options, rounds: ROUNDS_MAX, roundsPerCluster: ROUNDS_MAX, servers: [1] as const, log: () => {} }
  for (const bug of PLANTED_BUGS) {
    const { violations, ms } = await runClusters({ ...common, bug, faults: FAULTS_FOR[bug] })
    const [first] = violations
    const checks = [...new Set(violations.map(({ check }) => check))].join(', ')
    console.log(
      first === undefined
        ? `${bug}: NOT FOUND in ${ROUNDS_MAX} rounds`
        : `${bug}: found in round ${first.round} after ${Math.round(ms / 1000)} s by ${checks}: ${first.text}`,
    )
    if (first === undefined) missed.push(bug)
  }
  const clean = await runClusters({ ...common, rounds: 3, faults: ['kill all'] })
  const isClean = clean.violations.length === 0 && notEnough(clean).every((text) => text.startsWith('no input was'))
  console.log(isClean ? 'nothing planted: nothing found' : `nothing planted: ${JSON.stringify(clean.violations[0])}`)
  return missed.length === 0 && isClean ? 0 : 1
}
