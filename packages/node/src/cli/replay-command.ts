/** `carillon replay`: tries a build on the recorded inputs, before it is deployed. */
import { CarillonError } from '@carillon/runtime'
import { type Command, Option } from 'commander'

import { BuildProcess } from '../replay/build-process.ts'
import type { Difference } from '../replay/difference.ts'
import { replayAll } from '../replay/replay.ts'
import type { InstanceReport } from '../replay/replay-instance.ts'
import { withClient } from './client.ts'
import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { EXIT_FAILED } from './exit-codes.ts'
import { parseWhole } from './option-values.ts'
import { note, oneLine, print, printJson } from './output.ts'
import { formatChange } from './state-diff.ts'

interface ReplayFlags extends ConnectionFlags {
  readonly workflows: readonly string[]
  readonly against?: readonly string[]
  readonly type?: string
  readonly id?: string
  readonly journalOnly?: boolean
  readonly maxDifferences: number
}

interface Counts {
  instances: number
  inputs: number
  same: number
  differs: number
  incomplete: number
  /** For each patch that is active: instances whose code began before it and is not over, and one of them. */
  waitsBefore: Record<string, { count: number; example: string }>
}

const PROGRESS_MS = 2000
const DIFFERENCES_DEFAULT = 100

export function addReplayCommand(program: Command): void {
  addConnectionOptions(
    program
      .command('replay')
      .description('fold recorded inputs again under a build, and say what would be different')
      .requiredOption('--workflows <file...>', 'the build to try: its workflow files')
      .option('--against <file...>', 'another build, for example the one that runs: where do the two part?')
      .option('--type <type>', 'of this workflow type only; default: all that the build implements')
      .option('--id <id>', 'one instance, with --type')
      .option('--journal-only', 'compare with the journal alone, and ask no node')
      .addOption(
        new Option('--max-differences <count>', 'stop at so many instances that differ')
          .argParser(parseWhole)
          .default(DIFFERENCES_DEFAULT),
      ),
  )
    .addHelpText(
      'after',
      `
Compares with what the cluster has at the same place of the journal; with the results in the journal, which must be those of what the build asks
for; and with --against, input by input, with another build. It changes nothing. Exit code 1: there are differences, or instances whose
beginning the journal does not hold any more.

It also counts, for each patch that is active, the instances that still wait in code that began before it.

With --json one line of JSON for each instance that differs or is incomplete, and one with the counts.

Examples:
  $ carillon replay --workflows dist/workflow.js
  $ carillon replay --workflows new/workflow.ts --against old/workflow.ts --type order --id o-4711`,
    )
    .action(async (flags: ReplayFlags) => {
      if (flags.id !== undefined && flags.type === undefined)
        throw new CarillonError('CONFIG_INVALID', '--id goes with --type: add it')
      await withClient(flags, async (carillon) => {
        const builds: BuildProcess[] = []
        const open = async (files: readonly string[]): Promise<BuildProcess> => {
          const build = await BuildProcess.open(files, carillon.cluster, flags.codecs)
          builds.push(build)
          return build
        }
        try {
          const build = await open(flags.workflows)
          const against = flags.against === undefined ? undefined : await open(flags.against)
          const bounds = await carillon.journal.bounds()
          if (bounds.deleted > 0)
            note(`${bounds.deleted} messages were deleted from the journal: what they did is missing from every fold`)
          if (bounds.firstSeq > 1)
            note(
              `the journal has been trimmed: it begins at seq ${bounds.firstSeq}, and instances without an input since then are not looked at`,
            )
          const context = { carillon, build, against, bounds, asksCluster: flags.journalOnly !== true }
          await report(replayAll(context, { type: flags.type, id: flags.id }), flags)
        } finally {
          await Promise.all(builds.map((build) => build.close()))
        }
      })
    })
}

async function report(reports: AsyncIterable<InstanceReport>, flags: ReplayFlags): Promise<void> {
  const counts: Counts = { instances: 0, inputs: 0, same: 0, differs: 0, incomplete: 0, waitsBefore: {} }
  let toldMs = performance.now()
  let isCut = false
  for await (const one of reports) {
    counts.instances += 1
    counts.inputs += one.inputs
    counts[one.result] += 1
    for (const patch of one.waitsBefore) {
      const name = `${one.type}: ${patch}`
      const waits = (counts.waitsBefore[name] ??= { count: 0, example: one.id })
      waits.count += 1
    }
    if (one.result !== 'same') printReport(one, flags)
    if (performance.now() - toldMs > PROGRESS_MS) {
      toldMs = performance.now()
      note(formatCounts(counts))
    }
    isCut = counts.differs >= flags.maxDifferences
    if (isCut) break
  }
  if (flags.json === true) printJson({ ...counts, isCut })
  else {
    print(formatCounts(counts))
    for (const [patch, { count, example }] of Object.entries(counts.waitsBefore))
      print(oneLine(`${patch}: ${count} instances wait in code that began before this patch, for example ${example}`))
  }
  if (isCut) note(`stopped at ${counts.differs} instances that differ: --max-differences`)
  if (counts.same < counts.instances) process.exitCode = EXIT_FAILED
}

function printReport({ type, id, result, reason, differences }: InstanceReport, { json }: ReplayFlags): void {
  if (json === true) return printJson({ type, id, result, reason, differences })
  print(oneLine(`${type}/${id}  ${result}${reason === undefined ? '' : `: ${reason}`}`))
  for (const difference of differences) for (const line of formatDifference(difference)) print(`  ${oneLine(line)}`)
}

function formatDifference({ seq, what, changes = [], effects }: Difference): string[] {
  return [
    `seq ${seq}: ${what}`,
    ...changes.map((change) => `  ${formatChange(change)}`),
    ...(effects?.before ?? []).map((line) => `  - ${line}`),
    ...(effects?.after ?? []).map((line) => `  + ${line}`),
  ]
}

function formatCounts({ instances, inputs, same, differs, incomplete }: Counts): string {
  return `${instances} instances with ${inputs} inputs: ${same} the same, ${differs} differ, ${incomplete} incomplete`
}
