/** Whether the kill test can fail: bugs that are planted in the node must be found within a few kills. */
import { expect, test } from 'vitest'

import { runCrashes } from './crash-run.ts'
import { PLANTED_BUGS, type PlantedBug } from './planted-bugs.ts'

/** What the first findings are about. */
const EXPECTED: Readonly<Record<PlantedBug, RegExp>> = {
  'position-before-state': /the state of|does not know it/,
  'effects-outside-the-batch': /still owes: .* \([1-9]\d* activities/,
  'timers-outside-the-batch': /still owes: .* [1-9]\d* timers/,
  // A digest covers the known ids; the state differs once one of them comes again.
  'known-ids-dropped': /the state of|the digest of/,
  'dedupe-by-the-server-only': /the state of/,
  // Behind the end of the journal a node waits for an input that is there already, or takes the journal for one that has lost it.
  'resume-off-by-one': /the state of|could not be looked at|has lost messages/,
  'host-clock-in-turns': /the state of/,
}

for (const bug of PLANTED_BUGS) {
  test(`finds the planted bug: ${bug}`, { timeout: 120_000 }, async () => {
    const seed = 7
    const report = await runCrashes({
      seed,
      randomKills: 5,
      killsPerFailpoint: 0,
      ledgers: 4,
      opsPerSecond: 250,
      bug,
      quietTimeoutMs: 3000,
    })
    expect(report.findings.join('\n')).toMatch(EXPECTED[bug])
  })
}

test('finds nothing where nothing was planted', { timeout: 120_000 }, async () => {
  const report = await runCrashes({ seed: 7, randomKills: 5, killsPerFailpoint: 0, ledgers: 4, opsPerSecond: 250 })
  expect(report.findings).toEqual([])
})
