/**
 * The fault run.
 *
 *   npm run proof                          20 rounds
 *   npm run proof -- --rounds 300 --log docs/proof-log.md    300 rounds, recorded
 *   npm run proof -- --seed 7 --rounds 10  the plan of an earlier run: the same load and the same faults; processes keep their own time
 *   npm run proof -- --planted             every planted bug must be found
 *   npm run proof -- --list                the names of the faults, for --faults
 *
 * Exit code 1 when something was violated, or too little was looked at to say so.
 */
import { appendFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

import { provideNatsServer } from '../../../scripts/nats-server.mjs'
import { FAULTS } from './supervisor/faults.ts'
import { findPlanted } from './planted.ts'
import { formatLogEntry, notEnough, printReport } from './report.ts'
import { runClusters, type RunOptions } from './supervisor/run-clusters.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    faults: { type: 'string', default: '' },
    servers: { type: 'string', default: '1,1,3' },
    minutes: { type: 'string' },
    'rounds-per-cluster': { type: 'string', default: '10' },
    ops: { type: 'string', default: '160' },
    patience: { type: 'string', default: '1' },
    bug: { type: 'string' },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    log: { type: 'string' },
    planted: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})

// So that what was mounted is unmounted; the other processes end with this one.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

process.exitCode = await main()

async function main(): Promise<number> {
  if (values.list) {
    for (const { name, servers } of FAULTS) console.log(servers === undefined ? name : `${name} (${servers} servers)`)
    return 0
  }
  const { path } = await provideNatsServer()
  const options: RunOptions = {
    natsServer: path,
    seed: Number(values.seed),
    rounds: Number(values.rounds),
    roundsPerCluster: Number(values['rounds-per-cluster']),
    servers: values.servers.split(',').map((text) => (text === '3' ? 3 : 1)),
    faults: values.faults === '' ? [] : values.faults.split(',').map((name) => name.trim()),
    opsPerSecond: Number(values.ops),
    poisonShare: 0.004,
    patience: Number(values.patience),
    bug: values.bug,
    msMax: values.minutes === undefined ? undefined : Number(values.minutes) * 60_000,
    keep: values.keep,
    log: values.json ? () => {} : (line) => console.log(line),
  }
  if (values.planted) return findPlanted(options)
  const report = await runClusters(options)
  if (values.log !== undefined) appendFileSync(values.log, formatLogEntry(report, options))
  if (values.json) console.log(JSON.stringify(report))
  else printReport(report, options)
  return report.violations.length === 0 && notEnough(report).length === 0 ? 0 : 1
}
