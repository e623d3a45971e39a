/** `carillon cluster`: nodes, partitions, owners, standbys, lag and rates; `drain`, `rebalance`, `verify`. */
import { CarillonError } from '@carillon/runtime'
import { PARTITIONS_MAX } from '@carillon/runtime/protocol'
import { type Command, InvalidArgumentError, Option } from 'commander'

import { withCluster } from './cluster-connection.ts'
import { leftOf, misplacedOf, untilMoved } from './cluster-move.ts'
import { askNode } from './cluster-requests.ts'
import { Screen } from './cluster-screen.ts'
import { type ClusterSnapshot, snapshotOf } from './cluster-snapshot.ts'
import { verify, type VerifyFlags } from './cluster-verify.ts'
import { formatReport } from './cluster-verify-text.ts'
import { formatCluster } from './cluster-view.ts'
import { ClusterWatch } from './cluster-watch.ts'
import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { EXIT_FAILED, exitCodeOf } from './exit-codes.ts'
import { parseDuration, parseWhole } from './option-values.ts'
import { note, print, printJson } from './output.ts'
import { StopRequest } from './stop-request.ts'

interface ViewFlags extends ConnectionFlags {
  readonly all?: boolean
  readonly once?: boolean
  readonly every: number
}

interface MoveFlags extends ConnectionFlags {
  readonly undo?: boolean
  readonly timeout: number
}

interface VerifyCommandFlags extends VerifyFlags {
  readonly json?: boolean
}

/** Long enough to hear every node that lives, and twice, for rates. */
const LISTEN_MS = 1000
/** Of the nodes that live, to whom a request goes: long enough for one round of heartbeats. */
const HEAR_MS = 600
const PROGRESS_EVERY_MS = 2000

export function addClusterCommands(program: Command): void {
  const cluster = program
    .command('cluster')
    .description('the nodes of a cluster, and which of them owns and stands by for which partition')
  addView(cluster)
  addDrain(cluster)
  addRebalance(cluster)
  addVerify(cluster)
}

function addView(cluster: Command): void {
  addConnectionOptions(cluster)
    .option('--all', 'a line for each partition')
    .option('--once', 'print it once and end, as it does where stdout is no terminal')
    .addOption(new Option('--every <duration>', 'how often it is drawn').argParser(parseDuration).default(500, '500ms'))
    .addHelpText(
      'after',
      `\nIn a terminal it is drawn again and again, until Ctrl-C. With --json one snapshot; docs/operations.md has its shape.\n\nExamples:\n  $ carillon cluster\n  $ carillon cluster --json\n  $ carillon cluster drain node-3\n  $ carillon cluster rebalance`,
    )
    .action(async (flags: ViewFlags) => {
      const isLive =
        process.stdout.isTTY && process.env['TERM'] !== 'dumb' && flags.json !== true && flags.once !== true
      await withWatch(flags, isLive ? 0 : LISTEN_MS, async (watch) => {
        if (isLive) return drawLive(watch, flags)
        const snapshot = snapshotOf(await watch.facts())
        if (flags.json === true) return printJson(snapshot)
        for (const line of formatCluster(snapshot, { columns: Infinity, rows: Infinity, all: flags.all === true }))
          print(line)
      })
    })
}

function addDrain(cluster: Command): void {
  moving(cluster.command('drain'), '2 minutes')
    .description('make a node hand over all its partitions and take none, and wait until it has')
    .argument('<node>', 'its name')
    .option('--undo', 'let it take part again')
    .addHelpText(
      'after',
      `\nThe node goes on running: stop it when this has ended.\n\nExamples:\n  $ carillon cluster drain node-3\n  $ carillon cluster drain node-3 --undo`,
    )
    .action(async (node: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<MoveFlags>()
      await withCluster(flags, async (connection) => {
        await askNode(connection, node, flags.undo === true ? 'resume' : 'drain')
        if (flags.undo === true) return done(flags, `${node} takes part again`)
        const watch = await ClusterWatch.open(connection)
        try {
          await listen(HEAR_MS)
          const { timeout: timeoutMs } = flags
          await untilMoved(`draining ${node}`, (snapshot) => leftOf(node, snapshot), {
            watch,
            timeoutMs,
            progress: note,
          })
          done(flags, `${node} is drained`)
        } finally {
          watch.close()
        }
      })
    })
}

function addRebalance(cluster: Command): void {
  moving(cluster.command('rebalance'), '2 minutes')
    .description('move partitions to the nodes where they belong, as soon as these have caught up')
    .addHelpText('after', `\nExamples:\n  $ carillon cluster rebalance`)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<MoveFlags>()
      await withCluster(flags, async (connection) => {
        const watch = await ClusterWatch.open(connection)
        try {
          await listen(HEAR_MS)
          const before = snapshotOf(await watch.facts())
          const live = before.nodes.filter(({ state }) => state === 'live')
          if (live.length === 0)
            throw new CarillonError('NO_NODE', `no live node has been heard in namespace ${flags.namespace}: start one`)
          await Promise.all(live.map(({ node }) => askNode(connection, node, 'rebalance')))
          const { timeout: timeoutMs } = flags
          const after = await untilMoved('rebalancing', misplacedOf, { watch, timeoutMs, progress: note })
          done(flags, `${moved(before, after)} partitions moved`)
        } finally {
          watch.close()
        }
      })
    })
}

function addVerify(cluster: Command): void {
  addConnectionOptions(cluster.command('verify'))
    .description(
      'compare the states of all instances on all nodes that have them, and with what the journal makes of them',
    )
    .addOption(
      new Option('--refold <count>', 'fold so many instances, or all, again from the journal').argParser(parseCount),
    )
    .option('--workflows <file...>', 'with --refold: the files that the nodes run')
    .addOption(new Option('--partition <number...>', 'only these').argParser(parsePartitions))
    .addHelpText(
      'after',
      `
The cluster goes on meanwhile. Exit code 0 when nothing differs, 1 when something does, 8 when a partition could not be looked at.

Examples:
  $ carillon cluster verify
  $ carillon cluster verify --refold 100 --workflows workflow.ts --json`,
    )
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<VerifyCommandFlags>()
      if ((flags.refold === undefined) !== (flags.workflows === undefined))
        throw new CarillonError('CONFIG_INVALID', '--refold and --workflows go together: add the other one')
      await withCluster(flags, async (connection) => {
        const watch = await ClusterWatch.open(connection)
        await listen(HEAR_MS)
        const snapshot = snapshotOf(await watch.facts())
        watch.close()
        const report = await verify(connection, snapshot, flags, paced(note))
        if (flags.json === true) printJson(report)
        else for (const line of formatReport(report)) print(line)
        if (!report.ok) process.exitCode = report.differingCount > 0 ? EXIT_FAILED : exitCodeOf({ code: 'NO_NODE' })
      })
    })
}

/** Passes on what is told at most so often. */
function paced(tell: (text: string) => void): (text: string) => void {
  let lastMs = performance.now()
  return (text) => {
    if (performance.now() - lastMs < PROGRESS_EVERY_MS) return
    lastMs = performance.now()
    tell(text)
  }
}

function parseCount(text: string): number {
  return text === 'all' ? Infinity : parseWhole(text)
}

function parsePartitions(text: string, before: readonly number[] = []): readonly number[] {
  const number = Number(text)
  if (/^\d{1,5}$/.test(text) && number < PARTITIONS_MAX) return [...before, number]
  throw new InvalidArgumentError('It must be the number of a partition, from 0.')
}

function moved(before: ClusterSnapshot, after: ClusterSnapshot): number {
  return after.partitions.filter(({ owner }, i) => owner !== before.partitions[i]?.owner).length
}

function done({ json }: ConnectionFlags, text: string): void {
  if (json === true) printJson({ ok: true, text })
  else print(text)
}

function moving(command: Command, timeout: string): Command {
  return addConnectionOptions(command).addOption(
    new Option('--timeout <duration>', 'how long to wait')
      .argParser(parseDuration)
      .default(parseDuration(timeout), timeout),
  )
}

async function withWatch(
  flags: ConnectionFlags,
  listenMs: number,
  use: (watch: ClusterWatch) => Promise<void>,
): Promise<void> {
  await withCluster(flags, async (connection) => {
    const watch = await ClusterWatch.open(connection)
    try {
      // The first look begins the time over which the journal's rate is taken.
      if (listenMs > 0) await watch.facts()
      await listen(listenMs)
      await use(watch)
    } finally {
      watch.close()
    }
  })
}

async function drawLive(watch: ClusterWatch, { all, every }: ViewFlags): Promise<void> {
  const screen = new Screen(process.stdout)
  const stop = new StopRequest({ onHardStop: () => screen.close() })
  const leave = (): void => screen.close()
  process.once('exit', leave)
  try {
    while (!stop.isRequested) {
      const snapshot = snapshotOf(await watch.facts())
      screen.draw(formatCluster(snapshot, { ...screen.size, all: all === true }))
      await Promise.race([stop.requested, listen(every)])
    }
  } finally {
    screen.close()
    process.off('exit', leave)
  }
}

function listen(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
