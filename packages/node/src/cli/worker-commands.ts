/** `carillon worker`, which runs activities outside of the nodes, and `carillon queues`, which shows what waits for workers. */
import { type Command, Option } from 'commander'

import { withClient } from './client.ts'
import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { formatQueues } from './format-queues.ts'
import { logLevelOption } from './node-command.ts'
import { parseDuration, parseWhole } from './option-values.ts'
import { print, printJson } from './output.ts'
import type { WorkerFlags } from './run-worker.ts'

export function addWorkerCommands(program: Command): void {
  addWorker(program)
  addQueues(program)
}

function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description('run a remote worker: it runs the activities of one queue, in a process of their own')
    .addOption(
      new Option('--queue <name>', 'the queue, as contracts name it').env('CARILLON_QUEUE').makeOptionMandatory(),
    )
    .addOption(
      new Option('--activities <file...>', 'modules that export activities, .ts or .js')
        .env('CARILLON_ACTIVITIES')
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--concurrency <count>', 'calls that run at once; default 10')
        .env('CARILLON_CONCURRENCY')
        .argParser(parseWhole),
    )
    .addOption(new Option('--name <name>', 'what the worker is called in logs and by the server; default: by the host'))
    .addOption(
      new Option(
        '--grace <duration>',
        'how long calls may take to end when it is asked to stop; default 20s',
      ).argParser(parseDuration),
    )
    .addOption(logLevelOption())
  addConnectionOptions(command, '15s')
    .addHelpText(
      'after',
      `
Examples:
  $ carillon worker --queue gpu --activities dist/gpu-activities.js --concurrency 2
  $ carillon queues

SIGINT or SIGTERM lets calls come to their end and gives the rest back, a second one ends it at once. Calls are not lost either way.`,
    )
    .action(async (flags: WorkerFlags) => {
      const { runWorker } = await import('./run-worker.ts')
      // Activities may hold timers and sockets: they must not keep a worker that has drained.
      process.exit(await runWorker(flags))
    })
}

function addQueues(program: Command): void {
  addConnectionOptions(program.command('queues').description('show what waits for remote workers, and what they hold'))
    .addHelpText('after', `\nExamples:\n  $ carillon queues\n  $ carillon queues --json`)
    .action(async (flags: ConnectionFlags) => {
      await withClient(flags, async (carillon) => {
        const rows = await carillon.queues()
        if (flags.json === true) return printJson(rows)
        for (const line of formatQueues(rows)) print(line)
      })
    })
}
