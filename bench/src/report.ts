/** Medians, ratios and the table of the bench. */
import { median, quantile } from './quantiles.ts'

/** CPU time of one signal in microseconds, by process. */
export interface CpuMicros {
  readonly producer: number
  readonly server: number
  readonly consumer: number
}

export interface Figures {
  readonly version: string
  readonly rounds: number
  readonly signals: number
  /** Per second, one figure a round. */
  readonly rates: {
    readonly ceiling: readonly number[]
    readonly many: readonly number[]
    readonly one: readonly number[]
    readonly activity: readonly number[]
  }
  readonly cpu: Readonly<Record<'ceiling' | 'many' | 'one' | 'activity', readonly CpuMicros[]>>
  /** Milliseconds, one figure a signal. */
  readonly pings: { readonly raw: readonly number[]; readonly client: readonly number[] }
  readonly idle: {
    readonly instances: number
    readonly createdPerSecond: number
    readonly diskBytesEach: number
    readonly memoryBytesEach: number
    readonly residents: number
    readonly restartMs: number
    readonly timers: number
    readonly timerMemoryBytesEach: number
  }
}

export function printTable({ version, rounds, signals, rates, cpu, pings, idle }: Figures): void {
  const ceiling = median(rates.ceiling)
  const rate = (name: string, of: keyof typeof rates): readonly string[] => [
    name,
    `${round(median(rates[of]))}/s`,
    ratio(pairs(rates[of], rates.ceiling)),
    costs(cpu[of]),
  ]
  console.log(
    `nats-server ${version}, R1, default sync; ${rounds} rounds of ${round(signals)} signals; medians; everything on this machine`,
  )
  print([
    ['case', 'figure', 'to the ceiling', 'CPU µs: producer + server + consumer'],
    ['bare JetStream publish and ordered consume (ceiling)', `${round(ceiling)}/s`, '1.00', costs(cpu.ceiling)],
    rate('signals to 1000 instances, accepted and applied', 'many'),
    rate('signals to one instance', 'one'),
    rate('signals with one activity each, 1000 instances', 'activity'),
    [
      'publish to consumer’s echo, bare, at 100/s',
      `p50 ${ms(quantile(pings.raw, 0.5))}, p99 ${ms(quantile(pings.raw, 0.99))}`,
      '',
    ],
    [
      'signal to applied, at 100/s',
      `p50 ${ms(quantile(pings.client, 0.5))}, p99 ${ms(quantile(pings.client, 0.99))}`,
      `p50 ${(quantile(pings.client, 0.5) / quantile(pings.raw, 0.5)).toFixed(2)}x`,
    ],
    [
      `new instances, ${round(idle.instances)} of them`,
      `${round(idle.createdPerSecond)}/s`,
      (idle.createdPerSecond / ceiling).toFixed(2),
    ],
    ['an idle instance on disk, its state and known id included', `${round(idle.diskBytesEach)} B`, ''],
    [
      `memory of ${round(idle.instances)} instances, each (at most 1,000 resident)`,
      `${round(idle.memoryBytesEach)} B`,
      '',
    ],
    [
      `process start to first applied signal, ${round(idle.instances)} instances on disk`,
      `${round(idle.restartMs)} ms`,
      '',
    ],
    [`a pending timer in memory, ${round(idle.timers)} of them`, `${idle.timerMemoryBytesEach.toFixed(1)} B`, ''],
  ])
  console.log('Not measured here: several servers or nodes, fsync at every write, networks, remote disks.')
}

function print(rows: readonly (readonly string[])[]): void {
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  '),
    )
}

/** The ratio in each round: both ran under the same load of the machine. */
function pairs(values: readonly number[], base: readonly number[]): number[] {
  return values.map((value, i) => value / (base[i] ?? Number.NaN))
}

function costs(values: readonly CpuMicros[]): string {
  return (['producer', 'server', 'consumer'] as const)
    .map((process) => median(values.map((value) => value[process])).toFixed(1))
    .join(' + ')
}

function ratio(values: readonly number[]): string {
  return median(values).toFixed(2)
}

function round(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`
}
