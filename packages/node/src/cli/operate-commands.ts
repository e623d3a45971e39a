/** `carillon pause`, `resume`, `retry`, `skip`, `cancel`, `terminate`: what operators do to an instance, and to a type. */
import type { Accepted, AnyShape, Carillon, SendOptions, WorkflowHandle } from '@carillon/client'
import { CarillonError } from '@carillon/runtime'
import { type Command } from 'commander'

import { withClient } from './client.ts'
import { addConnectionOptions } from './connection-options.ts'
import { parseWhole } from './option-values.ts'
import { print, printJson } from './output.ts'
import { printAccepted, type SendFlags, sendOptions, timeoutOption, toSendOptions, waitOption } from './send-options.ts'

interface TypeFlags extends SendFlags {
  readonly type?: string
  readonly activity?: string
  readonly reason?: string
}

export function addOperateCommands(program: Command): void {
  addPause(program)
  addResume(program)
  addSeqCommand(program, 'retry', 'try the input again at which an instance is suspended')
  addSeqCommand(program, 'skip', 'leave out the input at which an instance is suspended: it becomes a dead letter')
  addEnding(program, 'cancel', 'ask an instance to cancel: its run may clean up first')
  addEnding(program, 'terminate', 'end an instance at once, as failed; one that is suspended or paused, too')
}

function addPause(program: Command): void {
  withTypes(program.command('pause'), 'let an instance, or all of a type, take no inputs: they wait, in order')
    .option('--reason <text>', 'why; it is shown by describe')
    .addHelpText(
      'after',
      `\nExamples:\n  $ carillon pause loyalty customer-42 --reason 'the partner is down'\n  $ carillon pause --type loyalty\n  $ carillon pause --type loyalty --activity notifyPartner`,
    )
    .action(async (type: string | undefined, id: string | undefined, flags: TypeFlags) => {
      await withClient(flags, (carillon) =>
        operate(carillon, { type, id, flags, verb: 'pause' }, (handle, options) => handle.pause(flags.reason, options)),
      )
    })
}

function addResume(program: Command): void {
  withTypes(program.command('resume'), 'let an instance that is paused or suspended, or all of a paused type, go on')
    .addHelpText(
      'after',
      `\nExamples:\n  $ carillon resume loyalty customer-42 --wait applied\n  $ carillon resume --type loyalty`,
    )
    .action(async (type: string | undefined, id: string | undefined, flags: TypeFlags) => {
      await withClient(flags, (carillon) =>
        operate(carillon, { type, id, flags, verb: 'resume' }, (handle, options) => handle.resume(options)),
      )
    })
}

interface Operation {
  readonly type: string | undefined
  readonly id: string | undefined
  readonly flags: TypeFlags
  readonly verb: 'pause' | 'resume'
}

/** On one instance, or on a whole type, or on an activity of it. */
async function operate(
  carillon: Carillon,
  { type, id, flags, verb }: Operation,
  send: (handle: WorkflowHandle<AnyShape>, options: SendOptions) => Promise<Accepted>,
): Promise<void> {
  const { type: whole, activity, json } = flags
  if (type !== undefined && id !== undefined && whole === undefined && activity === undefined)
    return printAccepted(await send(carillon.workflow(type, id), toSendOptions(flags)), flags)
  if (whole === undefined || type !== undefined)
    throw new CarillonError(
      'CONFIG_INVALID',
      `give an instance (<type> <id>), or a whole type: carillon ${verb} --type <type>`,
    )
  const isPause = verb === 'pause'
  const changed =
    activity === undefined
      ? await (isPause ? carillon.pauseType(whole) : carillon.resumeType(whole))
      : await (isPause ? carillon.pauseActivity(whole, activity) : carillon.resumeActivity(whole, activity))
  if (json === true) return printJson({ type: whole, activity, changed })
  const what = activity === undefined ? `the type ${whole}` : `the activity ${activity} of ${whole}`
  print(`${what} ${isPause ? 'is paused' : 'goes on'}${changed ? '' : ': it did already'}`)
}

function addSeqCommand(program: Command, name: 'retry' | 'skip', description: string): void {
  sendOptions(program.command(name), description)
    .argument(
      '<seq>',
      'the input at which it is suspended, as describe shows it; at any other one nothing happens',
      parseWhole,
    )
    .addHelpText('after', `\nExamples:\n  $ carillon ${name} loyalty customer-42 1207`)
    .action(async (type: string, id: string, seq: number, flags: SendFlags) => {
      await withClient(flags, async (carillon) => {
        const { id: inputId, timeout: timeoutMs } = flags
        const isDone = await carillon.workflow(type, id)[name](seq, { id: inputId, timeoutMs })
        if (flags.json === true) return printJson(name === 'skip' ? { skipped: isDone } : { retried: isDone })
        const done = name === 'skip' ? `skipped: carillon dead list --type ${type} --id ${id} shows it` : 'tried again'
        print(`seq ${seq}: ${isDone ? done : `nothing to ${name}, the instance is not suspended there`}`)
      })
    })
}

function addEnding(program: Command, name: 'cancel' | 'terminate', description: string): void {
  sendOptions(program.command(name), description)
    .argument('[reason]', 'why; it becomes part of the outcome')
    .addOption(waitOption())
    .addHelpText(
      'after',
      `\nExamples:\n  $ carillon ${name} loyalty customer-42 'moved to another shop' --wait applied`,
    )
    .action(async (type: string, id: string, reason: string | undefined, flags: SendFlags) => {
      await withClient(flags, async (carillon) =>
        printAccepted(await carillon.workflow(type, id)[name](reason, toSendOptions(flags)), flags),
      )
    })
}

function withTypes(command: Command, description: string): Command {
  return addConnectionOptions(
    command
      .description(description)
      .argument('[type]', 'the workflow type')
      .argument('[id]', 'the instance’s id')
      .option('--type <type>', 'all instances of this type, those that come included, until it is resumed')
      .option('--activity <name>', 'with --type: only this activity of it; attempts that run go on')
      .option('--id <key>', 'the idempotency key: a repeat with it changes nothing, and gets the same answer')
      .addOption(waitOption())
      .addOption(timeoutOption()),
  )
}
