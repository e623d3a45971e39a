/** What a run says of itself. */
import type { RunOptions, RunReport } from './supervisor/run-clusters.ts'

const ACKNOWLEDGED_PER_ROUND_MIN = 50
/** Each must have looked at something, or it proves nothing. */
const CHECKS = [
  'acknowledged',
  'only-sent',
  'sender-order',
  'state',
  'digest',
  'outcome',
  'effect',
  'once-in-calm',
  'dead-letter',
  'timer',
  'bank',
  'journal',
  'ownership',
]
const MET = ['applied', 'duplicates', 'results', 'fired', 'cancelled', 'queued', 'bugs']

/** What a valid run has more of. */
export function notEnough({ rounds, acknowledged, looked, met }: RunReport): string[] {
  const few = [
    ...CHECKS.filter((name) => (looked[name] ?? 0) === 0).map((name) => `the check ${name} looked at nothing`),
    ...MET.filter((name) => (met[name] ?? 0) === 0).map((name) => `no input was ${name}`),
  ]
  return acknowledged < rounds * ACKNOWLEDGED_PER_ROUND_MIN
    ? [`${acknowledged} acknowledged inputs are too few`, ...few]
    : few
}

function replayCommand({ seed, rounds, servers, faults, roundsPerCluster }: RunOptions): string {
  const named = faults.length === 0 ? '' : ` --faults ${JSON.stringify(faults.join(','))}`
  return `npm run proof -- --seed ${seed} --rounds ${rounds} --rounds-per-cluster ${roundsPerCluster} --servers ${servers.join(',')}${named}`
}

export function printReport(report: RunReport, options: RunOptions): void {
  for (const line of formatReport(report, options)) console.log(line)
}

function formatReport(report: RunReport, options: RunOptions): string[] {
  const { rounds, clusters, faults, violations, looked, met, acknowledged, inputs, warnings, settleMs, ms } = report
  const sorted = [...settleMs].sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  const pairs = (record: Readonly<Record<string, number>>): string =>
    Object.entries(record)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')
  return [
    '',
    `${rounds} rounds in ${clusters} clusters, ${Math.round(ms / 1000)} s, seed ${options.seed}`,
    `faults: ${pairs(faults)}`,
    `inputs: ${inputs} in the journals, ${acknowledged} acknowledgements`,
    `met: ${pairs(met)}`,
    `looked at: ${pairs(looked)}`,
    `settled: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; reads under faults: ${report.answeredReads} answered, ${report.unansweredReads} not`,
    `warnings: ${pairs(warnings)}`,
    ...notEnough(report).map((text) => `NOT ENOUGH: ${text}`),
    `violations: ${violations.length}`,
    ...violations.map(
      ({ check, text, cluster, round, fault, folder }) =>
        `  ${check} (cluster ${cluster}, round ${round}, ${fault}; ${folder}): ${text}`,
    ),
    `again: ${replayCommand(options)}`,
  ]
}

/** An entry of docs/proof-log.md. */
export function formatLogEntry(report: RunReport, options: RunOptions): string {
  const [, ...lines] = formatReport(report, options)
  const verdict = report.violations.length === 0 && notEnough(report).length === 0 ? 'no violation' : 'VIOLATED'
  return `\n## ${new Date().toISOString().slice(0, 16)}Z, seed ${options.seed}: ${verdict}\n\n${lines.map((line) => `    ${line}\n`).join('')}`
}
