/** The entry of the command: parses, runs, and turns whatever goes wrong into one line and an exit code. */
import { CarillonError } from '@carillon/runtime'
import { CommanderError } from 'commander'

import { EXIT_OK, exitCodeOf } from './exit-codes.ts'
import { printError } from './output.ts'
import { createProgram } from './program.ts'

/** Runs one command. Sets the exit code; the process ends by itself when nothing is left to do. */
export async function main(argv: readonly string[] = process.argv): Promise<void> {
  endQuietlyOnClosedPipe()
  dropEmptyVariables()
  const error = await run(argv)
  if (error === undefined) return
  printError(error, argv.includes('--json'))
  process.exitCode = exitCodeOf(error)
  // Workflow modules that were loaded may hold timers and sockets.
  process.exit()
}

async function run(argv: readonly string[]): Promise<unknown> {
  try {
    await createProgram().parseAsync(argv)
    return undefined
  } catch (error) {
    return error instanceof CommanderError ? toUsageError(error) : error
  }
}

/** Undefined for help and the version, which commander reports as errors. */
function toUsageError({ code, exitCode, message }: CommanderError): CarillonError | undefined {
  if (exitCode === EXIT_OK) return undefined
  if (code === 'commander.help') return new CarillonError('CONFIG_INVALID', 'no command is given: see the help above')
  return new CarillonError(
    'CONFIG_INVALID',
    `${message.replace(/^error: /, '').replace(/\.$/, '')}: see carillon --help`,
  )
}

/** An empty variable is an absent one: compose files and shells pass on what was never set as empty text. */
function dropEmptyVariables(): void {
  for (const [name, value] of Object.entries(process.env))
    if (name.startsWith('CARILLON_') && value === '') delete process.env[name]
}

/** `carillon history … | head` ends when head does. */
function endQuietlyOnClosedPipe(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_OK)
    throw error
  })
}
