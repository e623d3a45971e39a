/** What the commands that send an input have in common. */
import type { Accepted, SendOptions } from '@carillon/client'
import { type Command, Option } from 'commander'

import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { parseDuration } from './option-values.ts'
import { print, printJson } from './output.ts'

export interface SendFlags extends ConnectionFlags {
  readonly id?: string
  readonly wait?: 'accepted' | 'applied'
  readonly timeout?: number
}

/** Arguments and options of an input for one instance. Options of the connection come last in their help. */
export function sendOptions(command: Command, description: string): Command {
  return addConnectionOptions(
    command
      .description(description)
      .argument('<type>', 'the workflow type')
      .argument('<id>', 'the instance’s id')
      .option('--id <key>', 'the idempotency key: a repeat with it changes nothing, and gets the same answer')
      .addOption(timeoutOption()),
  )
}

export function timeoutOption(): Option {
  return new Option('--timeout <duration>', 'how long to wait for the outcome; default 30s').argParser(parseDuration)
}

export function waitOption(): Option {
  return new Option('--wait <until>', 'return when the input is durable, or when its handler is done')
    .choices(['accepted', 'applied'])
    .default('accepted')
}

export function toSendOptions({ id, wait, timeout }: SendFlags): SendOptions {
  return { id, wait, timeoutMs: timeout }
}

export function printAccepted(accepted: Accepted, { wait, json }: SendFlags): void {
  if (json === true) return printJson(accepted)
  const { seq, id, duplicate } = accepted
  print(`${wait ?? 'accepted'} at seq ${seq}, id ${id}${duplicate ? ', a repeat: it changed nothing' : ''}`)
}
