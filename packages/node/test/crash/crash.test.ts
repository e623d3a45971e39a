/**
 * The kill test: a node is ended by SIGKILL at random moments and at each named point of the commit path, under load with repeated inputs; then
 * every instance's state and order is compared with an independent fold of the journal.
 *
 * `CARILLON_CRASH_ROUNDS` sets how many kills (default 105), `CARILLON_CRASH_SEED` the plan of an earlier run: the same load, limits and kills, but
 * processes keep their own time, so not the same moments. A failure shows the command, and keeps the journal beside it.
 */
import { COMMIT_FAILPOINTS } from '@carillon/runtime/engine'
import { expect, test } from 'vitest'

import { type CrashReport, runCrashes } from './crash-run.ts'

const ROUNDS_DEFAULT = 105
const NAMED_SHARE = 1 / 3
const ACKNOWLEDGED_PER_ROUND = 20
const MS_PER_ROUND = 4000
const MS_BESIDES = 180_000

const rounds = Number(process.env['CARILLON_CRASH_ROUNDS'] ?? ROUNDS_DEFAULT)
const seed = Number(process.env['CARILLON_CRASH_SEED'] ?? Date.now() % 1_000_000)
const killsPerFailpoint = Math.max(1, Math.round((rounds * NAMED_SHARE) / COMMIT_FAILPOINTS.length))
const randomKills = Math.max(1, rounds - killsPerFailpoint * COMMIT_FAILPOINTS.length)
const replay = `CARILLON_CRASH_SEED=${seed} CARILLON_CRASH_ROUNDS=${rounds} npm test -- --no-check packages/node/test/crash/crash.test.ts`

test(
  'a node that is killed again and again applies every input once and in order, and runs every effect',
  { timeout: rounds * MS_PER_ROUND + MS_BESIDES },
  async () => {
    const report = await runCrashes({ seed, randomKills, killsPerFailpoint, ledgers: 100, opsPerSecond: 200 })
    expect({ replay, findings: report.findings }).toEqual({ replay, findings: [] })
    const named = Object.fromEntries(COMMIT_FAILPOINTS.map((point) => [point, killsPerFailpoint]))
    expect(report.kills).toEqual({ random: randomKills, ...named })
    expect({ replay, notEnough: notEnough(report) }).toEqual({ replay, notEnough: [] })
  },
)

/** What a valid run has more of: a check that looked at nothing proves nothing. */
function notEnough({ counts }: CrashReport): string[] {
  const checked = [
    'inputs',
    'instances',
    'deadLetters',
    'outcomes',
    'repeatedOutcomes',
    'attempts',
    'activities',
    'digests',
    'listed',
  ]
  const met = ['applied', 'duplicates', 'results', 'fired', 'cancelled', 'queued', 'closes', 'parked']
  const few = [...checked, ...met].filter((what) => (counts[what] ?? 0) === 0)
  return (counts['acknowledged'] ?? 0) > rounds * ACKNOWLEDGED_PER_ROUND ? few : ['acknowledged', ...few]
}
