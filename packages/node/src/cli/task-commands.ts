/** `carillon task list`, `complete`, `fail`, `heartbeat`: tasks that somebody outside completes by their token. */
import type { Accepted } from '@carillon/client'
import { type Command, Option } from 'commander'

import { withClient } from './client.ts'
import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { formatTasks } from './formats.ts'
import { parseDuration } from './option-values.ts'
import { print, printJson } from './output.ts'
import { readPayload } from './payload.ts'

interface DeedFlags extends ConnectionFlags {
  readonly id?: string
  readonly timeout?: number
}

interface FailFlags extends DeedFlags {
  readonly code?: string
}

export function addTaskCommands(program: Command): void {
  const task = program
    .command('task')
    .usage('[options] <command>')
    .description('tasks that somebody outside completes: listed, completed, failed')
    .addHelpText(
      'after',
      `\nEach takes --json.\n\nExamples:\n  $ carillon task list expense e-17\n  $ carillon task complete expense.e-17.task=3A42-0-… '{"approved": true}'`,
    )
  addList(task)
  addComplete(task)
  addFail(task)
  addHeartbeat(task)
}

function addList(task: Command): void {
  addConnectionOptions(task.command('list').description('list the open tasks of an instance, with their tokens'))
    .argument('<type>', 'the workflow type')
    .argument('<id>', 'the instance’s id')
    .addHelpText('after', `\nExamples:\n  $ carillon task list expense e-17 --json`)
    .action(async (type: string, id: string, flags: ConnectionFlags) => {
      await withClient(flags, async (carillon) => {
        const { tasks = [] } = await carillon.workflow(type, id).describe()
        if (flags.json === true) return printJson(tasks)
        for (const line of formatTasks(tasks)) print(line)
      })
    })
}

function addComplete(task: Command): void {
  withToken(task.command('complete').description('complete a task with its result'))
    .argument('[result]', 'JSON, or - for stdin')
    .addHelpText(
      'after',
      `\nExamples:\n  $ carillon task complete expense.e-17.task=3A42-0-… '{"approved": true}' --id click-9`,
    )
    .action(async (token: string, text: string | undefined, flags: DeedFlags) => {
      const value = await readPayload(text)
      await withClient(flags, async (carillon) => {
        printDone('completed', await carillon.completeTask(token, value, toOptions(flags)), flags)
      })
    })
}

function addFail(task: Command): void {
  withToken(task.command('fail').description('fail a task: its result rejects with TASK_FAILED'))
    .argument('<message>', 'why')
    .option('--code <code>', 'a code for the workflow to branch on')
    .addHelpText('after', `\nExamples:\n  $ carillon task fail expense.e-17.task=3A42-0-… 'no budget' --code NO_BUDGET`)
    .action(async (token: string, message: string, flags: FailFlags) => {
      const error = { message, ...(flags.code === undefined ? {} : { code: flags.code }) }
      await withClient(flags, async (carillon) => {
        printDone('failed', await carillon.failTask(token, error, toOptions(flags)), flags)
      })
    })
}

function addHeartbeat(task: Command): void {
  withToken(task.command('heartbeat').description('tell that somebody still works on a task'))
    .addHelpText('after', `\nExamples:\n  $ carillon task heartbeat expense.e-17.task=3A42-0-…`)
    .action(async (token: string, flags: DeedFlags) => {
      await withClient(flags, async (carillon) => {
        printDone('heartbeat', await carillon.heartbeatTask(token, toOptions(flags)), flags)
      })
    })
}

function withToken(command: Command): Command {
  return addConnectionOptions(
    command
      .argument('<token>', 'the task’s token, as ctx.task gave it')
      .option('--id <key>', 'the idempotency key: a repeat with it changes nothing, and gets the same answer')
      .addOption(
        new Option('--timeout <duration>', 'how long to wait for the outcome; default 30s').argParser(parseDuration),
      ),
  )
}

function toOptions({ id, timeout }: DeedFlags): { readonly id: string | undefined; readonly timeoutMs?: number } {
  return { id, ...(timeout === undefined ? {} : { timeoutMs: timeout }) }
}

function printDone(what: string, accepted: Accepted, { json }: DeedFlags): void {
  if (json === true) return printJson(accepted)
  const { seq, id, duplicate } = accepted
  print(`${what} at seq ${seq}, id ${id}${duplicate ? ', a repeat: it changed nothing' : ''}`)
}
