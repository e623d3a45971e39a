/** `carillon node` */
import { DOORS } from '@carillon/runtime/protocol'
import { type Command, Option } from 'commander'

import { addConnectionOptions } from './connection-options.ts'
import { LOG_LEVELS } from './logger.ts'
import { parseAddress, parseBytes, parseDuration, parseEngines, parseWhole } from './option-values.ts'
import type { NodeFlags } from './run-node.ts'

const DEFAULT_DATA_DIR = '.carillon/node'

export function addNodeCommand(program: Command): void {
  const command = program
    .command('node')
    .description('run a node: apply the journal of a cluster to its workflows')
    .addOption(
      new Option('--workflows <file...>', 'modules that export workflows, .ts or .js')
        .env('CARILLON_WORKFLOWS')
        .makeOptionMandatory(),
    )
    .addOption(dataDirOption())
    .addOption(
      new Option(
        '--name <name>',
        'what the node is called; no two of a cluster share one; default: the host’s name',
      ).env('CARILLON_NODE_NAME'),
    )
    .addOption(
      new Option('--weight <weight>', 'its part of the partitions relative to other nodes’, 1 to 100; default 1')
        .env('CARILLON_WEIGHT')
        .argParser(parseWhole),
    )
    .addOption(
      new Option('--standbys <count>', 'how many other nodes stand by for each partition, 0 to 2; default 1')
        .env('CARILLON_STANDBYS')
        .argParser(parseWhole),
    )
    .addOption(
      new Option(
        '--build <name>',
        'what its workflow code is called, where nodes are shown and states differ: a commit, a version; default: carillon’s',
      ).env('CARILLON_BUILD'),
    )
    .addOption(
      new Option('--partitions <count>', 'of a cluster that does not exist yet; default 64')
        .env('CARILLON_PARTITIONS')
        .argParser(parseWhole),
    )
    .addOption(
      new Option('--replicas <count>', 'of the streams of a new cluster: 1, 3 or 5; default 1')
        .env('CARILLON_REPLICAS')
        .argParser(parseWhole),
    )
    .addOption(
      new Option('--door <door>', 'who turns plain publishes into inputs, of a new cluster; default stream')
        .env('CARILLON_DOOR')
        .choices(DOORS),
    )
    .addOption(
      new Option(
        '--monitor <[host:]port>',
        'answer /live, /ready and /metrics (Prometheus) here; the host is 127.0.0.1 unless given',
      )
        .env('CARILLON_MONITOR')
        .argParser(parseAddress),
    )
    .addOption(
      new Option(
        '--checkpoint-every <duration>',
        'how often the partitions that this node owns are saved in the snapshot stream; default 30s',
      )
        .env('CARILLON_CHECKPOINT_EVERY')
        .argParser(parseDuration),
    )
    .addOption(
      new Option(
        '--journal-bytes-max <size>',
        'of a new cluster: a journal of this size refuses inputs; default: what the servers have',
      )
        .env('CARILLON_JOURNAL_BYTES_MAX')
        .argParser(parseBytes),
    )
    .addOption(
      new Option(
        '--keep-history <duration>',
        'trim the journal behind the snapshots, but keep what was stored less than this ago; default: keep everything. The same on every node',
      )
        .env('CARILLON_KEEP_HISTORY')
        .argParser(parseDuration),
    )
    .addOption(
      new Option(
        '--keep-history-bytes <size>',
        'trim the journal behind the snapshots, but keep the newest of this size; with --keep-history, what either of them wants is kept',
      )
        .env('CARILLON_KEEP_HISTORY_BYTES')
        .argParser(parseBytes),
    )
    .addOption(
      new Option('--engines <count>', 'processes that apply partitions, each its share of them; default 1')
        .env('CARILLON_ENGINES')
        .argParser(parseEngines),
    )
    .addOption(
      new Option('--turn-limit <duration>', 'an instance whose turn computes for longer is suspended; default 500ms')
        .env('CARILLON_TURN_LIMIT')
        .argParser(parseDuration),
    )
    .addOption(
      new Option('--spare <count>', 'processes kept ready to take the place of one that was ended; default 1')
        .env('CARILLON_SPARE')
        .choices(['0', '1']),
    )
    .addOption(logLevelOption())
    .addOption(new Option('--supervised').hideHelp())
  addConnectionOptions(command, '15s')
    .addHelpText(
      'after',
      `
Examples:
  $ carillon node --workflows dist/workflow.js --data-dir /var/lib/carillon
  $ carillon node --workflows loyalty.ts orders.ts --servers nats://a:4222,nats://b:4222 --replicas 3

SIGINT or SIGTERM drains the node: other nodes go on with its partitions. A second one ends it at once. Nothing accepted is lost either way.`,
    )
    .action(async (flags: NodeFlags) => {
      const { runNode } = await import('./run-node.ts')
      // Workflow modules may hold timers and sockets: they must not keep a node that has drained.
      process.exit(await runNode(flags))
    })
}

export function dataDirOption(): Option {
  return new Option('--data-dir <folder>', 'the folder of this node’s snapshots, its own')
    .env('CARILLON_DATA_DIR')
    .default(DEFAULT_DATA_DIR)
}

export function logLevelOption(): Option {
  return new Option('--log-level <level>', 'the least that is logged')
    .env('CARILLON_LOG_LEVEL')
    .choices(LOG_LEVELS)
    .default('info')
}
