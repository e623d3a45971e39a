/** The figures of a million instances, as a table. */

/** Signals a second. */
export interface Rates {
  readonly accepted: number
  /** Until their owners had applied all of them. */
  readonly applied: number
  /** Until the standbys had, as well. */
  readonly appliedEverywhere: number
}

export interface NodeUse {
  readonly name: string
  readonly owned: number
  readonly followed: number
  /** Instances in memory. */
  readonly residents: number
  readonly memoryBytes: number
  readonly diskBytes: number
}

export interface MillionFigures {
  readonly version: string
  readonly servers: number
  readonly nodes: number
  readonly instances: number
  readonly created: Rates
  readonly signalled: Rates
  readonly uses: readonly NodeUse[]
  /** Of one server. */
  readonly natsBytes: number
  readonly natsMemoryBytes: number
  /** Of the lost node. */
  readonly partitions: number
  /** From the loss until a signal, sent after it, is applied in every partition of the lost node. */
  readonly servedMs: number
  /** From its start with an empty disk. */
  readonly readyMs: number
  readonly caughtUpMs: number
  readonly restored: NodeUse
  /** Instances that are not as their signals make them. */
  readonly wrong: number
}

export function printMillion(figures: MillionFigures): void {
  const { version, servers, nodes, instances, created, signalled, uses, natsBytes, natsMemoryBytes, restored } = figures
  const rows: (readonly [string, string])[] = [
    [`instances created, each by its first signal: accepted`, rate(created.accepted)],
    ['applied by the owners', rate(created.applied)],
    ['applied by owners and standbys', rate(created.appliedEverywhere)],
    ['signalled once more: accepted', rate(signalled.accepted)],
    ['applied by the owners', rate(signalled.applied)],
    ['applied by owners and standbys', rate(signalled.appliedEverywhere)],
    ...uses.map((use): readonly [string, string] => [useOf(use), amounts(use)]),
    [
      `a nats-server, with ${round(2 * instances)} signals on ${round(instances)} subjects: memory, disk`,
      `${mib(natsMemoryBytes)}, ${mib(natsBytes)}`,
    ],
    [`one node lost: its ${figures.partitions} partitions are served again after`, seconds(figures.servedMs)],
    ['it comes back with an empty disk: ready after', seconds(figures.readyMs)],
    ['all of its partitions have caught up after', seconds(figures.caughtUpMs)],
    [useOf(restored), amounts(restored)],
    ['instances that are not as they must be', round(figures.wrong)],
  ]
  console.log(
    `\nnats-server ${version}: ${servers}; nodes: ${nodes}; ${round(instances)} instances; all on this machine\n`,
  )
  console.log('| what | figure |\n| --- | ---: |')
  for (const [what, figure] of rows) console.log(`| ${what} | ${figure} |`)
}

function useOf({ name, owned, followed, residents }: NodeUse): string {
  return `${name}, owns ${owned} partitions, follows ${followed}, ${round(residents)} instances resident: memory, disk`
}

function amounts({ memoryBytes, diskBytes }: NodeUse): string {
  return `${mib(memoryBytes)}, ${mib(diskBytes)}`
}

function rate(perSecond: number): string {
  return `${round(perSecond)}/s`
}

function mib(bytes: number): string {
  return `${round(bytes / 2 ** 20)} MiB`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function round(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
