/**
 * A short fault run over real processes: one cluster on one nats-server, one on three; then one with a planted bug, which must be found.
 *
 * `CARILLON_PROOF_SEED` gives the plan of an earlier run. It runs what the build made: `npm test` and `npm run build` bring that up to date.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { expect, it } from 'vitest'

import { provideNatsServer } from '../../../scripts/nats-server.mjs'
import type { RunReport } from './supervisor/run-clusters.ts'

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const ROUNDS = 10
const ROUNDS_PER_CLUSTER = 6
const seed = Number(process.env['CARILLON_PROOF_SEED'] ?? Date.now() % 1_000_000)

it('no fault of the smoke loses, doubles or reorders anything', { timeout: 600_000 }, async () => {
  const args = [
    '--seed',
    String(seed),
    '--rounds',
    String(ROUNDS),
    '--rounds-per-cluster',
    String(ROUNDS_PER_CLUSTER),
    '--patience',
    '3',
  ]
  const report = await prove(...args, '--servers', '1,3')
  const again = `npm run proof -- ${args.join(' ')} --servers 1,3`
  expect({ again, violations: report.violations }).toEqual({ again, violations: [] })
  expect({ rounds: report.rounds, clusters: report.clusters }).toEqual({ rounds: ROUNDS, clusters: 2 })
  const few = ['acknowledged', 'only-sent', 'state', 'digest', 'outcome', 'effect', 'dead-letter', 'timer', 'bank']
  expect(few.filter((check) => (report.looked[check] ?? 0) === 0)).toEqual([])
  expect(report.met['duplicates']).toBeGreaterThan(0)
})

it('a node that dedupes by the server alone is found', { timeout: 120_000 }, async () => {
  const report = await prove(
    '--rounds',
    '1',
    '--servers',
    '1',
    '--faults',
    'kill all',
    '--bug',
    'dedupe-by-the-server-only',
  )
  expect(report.violations.map(({ check }) => check)).toContain('state')
})

async function prove(...args: string[]): Promise<RunReport> {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: run npm run build first`)
  const { path } = await provideNatsServer()
  const env = { ...process.env, CARILLON_NATS_SERVER: path, NODE_OPTIONS: '' }
  const done = promisify(execFile)(process.execPath, [MAIN, '--json', ...args], { env, maxBuffer: 1 << 26 })
  const { stdout } = await done.catch((error: unknown) => {
    if (error instanceof Error && 'stdout' in error && error.stdout !== '')
      return error as unknown as { stdout: string }
    throw error
  })
  return JSON.parse(stdout) as RunReport
}
