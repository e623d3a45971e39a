/** `carillon dev` */
import { type Command, Option } from 'commander'

import { codecsOption, DEFAULT_NAMESPACE, jsonOption } from './connection-options.ts'
import { logLevelOption } from './node-command.ts'
import { parseWhole } from './option-values.ts'
import type { DevFlags } from './run-dev.ts'

export function addDevCommand(program: Command): void {
  program
    .command('dev')
    .description('run a workflow file here: a nats-server and a node, started anew at each change')
    .argument('[files...]', 'modules that export workflows, .ts or .js; default workflow.ts')
    .addOption(new Option('--data-dir <folder>', 'kept between runs').default('.carillon'))
    .addOption(
      new Option('--port <port>', 'of the nats-server; default 4222, or a free one if that is taken').argParser(
        parseWhole,
      ),
    )
    .addOption(
      new Option('--mqtt-port <port>', 'nats-server takes MQTT there; default: it takes none').argParser(parseWhole),
    )
    .addOption(new Option('--namespace <name>', 'of the cluster').env('CARILLON_NAMESPACE').default(DEFAULT_NAMESPACE))
    .addOption(logLevelOption())
    .addOption(codecsOption())
    .addOption(jsonOption())
    .addOption(new Option('--supervised').hideHelp())
    .addHelpText(
      'after',
      `
Examples:
  $ carillon dev
  $ carillon dev src/loyalty.ts src/orders.ts --port 4333

The nats-server is the one of CARILLON_NATS_SERVER, else the first of 2.12 or newer on the PATH. Ctrl-C stops both; a second one at once.`,
    )
    .action(async (files: readonly string[], flags: DevFlags) => {
      const { runDev } = await import('./run-dev.ts')
      process.exit(await runDev(files, flags))
    })
}
