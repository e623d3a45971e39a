/** The command line: every command and its help. */
import { createRequire } from 'node:module'

import { Command } from 'commander'

import { addClusterCommands } from './cluster-commands.ts'
import { addDeadCommands } from './dead-commands.ts'
import { addDevCommand } from './dev-command.ts'
import { addDoctorCommand } from './doctor-command.ts'
import { EXIT_CODES_HELP } from './exit-codes.ts'
import { addHealthCommand } from './health-command.ts'
import { addListCommands } from './list-commands.ts'
import { addNodeCommand } from './node-command.ts'
import { addOperateCommands } from './operate-commands.ts'
import { addReadCommands } from './read-commands.ts'
import { addReplayCommand } from './replay-command.ts'
import { addSendCommands } from './send-commands.ts'
import { addTaskCommands } from './task-commands.ts'
import { addWorkerCommands } from './worker-commands.ts'

const EXAMPLES = `
Examples:
  $ carillon dev workflow.ts
  $ carillon signal loyalty customer-42 purchase '{"orderId": "o-1", "amount": 30}' --id o-1
  $ carillon query loyalty customer-42 status
  $ carillon list --type loyalty --status suspended --json
  $ carillon doctor
`

/** Makes the parser. It throws instead of ending the process, and prints no errors by itself. */
export function createProgram(): Command {
  const program = new Command('carillon')
    .description('Durable workflows: signals in, ordered state out, nothing lost.')
    .version(readVersion())
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('after', `${EXAMPLES}\n${EXIT_CODES_HELP}`)
  addDevCommand(program)
  addNodeCommand(program)
  addSendCommands(program)
  addReadCommands(program)
  addReplayCommand(program)
  addListCommands(program)
  addTaskCommands(program)
  addOperateCommands(program)
  addWorkerCommands(program)
  addDeadCommands(program)
  addClusterCommands(program)
  addHealthCommand(program)
  addDoctorCommand(program)
  return program
}

function readVersion(): string {
  const { version } = createRequire(import.meta.url)('../../package.json') as { readonly version: string }
  return version
}
