/** `carillon dead list`, `show`, `redrive`: inputs that no instance took. */
import type { DeadLetter } from '@carillon/client'
import { type Command, InvalidArgumentError, Option } from 'commander'

import { withClient } from './client.ts'
import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { parseDuration, parseWhole } from './option-values.ts'
import { note, print, printJson, toJson } from './output.ts'
import { formatFields, formatTable } from './table.ts'

interface ListFlags extends ConnectionFlags {
  readonly type?: string
  readonly id?: string
  readonly after?: number
  readonly limit: number
}

interface RedriveFlags extends ConnectionFlags {
  readonly wait: 'accepted' | 'applied'
  readonly timeout?: number
}

export function addDeadCommands(program: Command): void {
  const dead = program
    .command('dead')
    .usage('[options] <command>')
    .description('dead letters: inputs that no instance took, listed, shown, and driven again')
    .addHelpText(
      'after',
      `\nEach takes --json.\n\nExamples:\n  $ carillon dead list --type loyalty\n  $ carillon dead show 12\n  $ carillon dead redrive 12 13 --wait applied`,
    )
  addList(dead)
  addShow(dead)
  addRedrive(dead)
}

function addList(dead: Command): void {
  addConnectionOptions(dead.command('list').description('list dead letters, in the order in which they were stored'))
    .option('--type <type>', 'of this workflow type only')
    .option('--id <id>', 'of this instance only; needs --type')
    .addOption(new Option('--after <seq>', 'behind this dead letter').argParser(parseWhole))
    .addOption(new Option('--limit <rows>', 'at most so many').argParser(parseWhole).default(100))
    .addHelpText(
      'after',
      `\nWith --json one line of JSON a letter; its bytes are base64.\n\nExamples:\n  $ carillon dead list\n  $ carillon dead list --type loyalty --id customer-42 --json`,
    )
    .action(async (flags: ListFlags) => {
      const { type, id, after, limit, json } = flags
      await withClient(flags, async (carillon) => {
        const letters: DeadLetter[] = []
        for await (const letter of carillon.deadLetters({ type, id, after, limit })) {
          if (json === true) printJson(letter)
          else letters.push(withoutPayload(letter))
        }
        if (json === true) return
        for (const line of formatLetters(letters)) print(line)
        if (letters.length === limit) note(`there may be more: --after ${letters.at(-1)?.seq}`)
      })
    })
}

function addShow(dead: Command): void {
  addConnectionOptions(dead.command('show').description('show one dead letter with its payload'))
    .argument('<seq>', 'the dead letter, as listed', parseSeq)
    .addHelpText('after', `\nExamples:\n  $ carillon dead show 12 --json`)
    .action(async (seq: number, flags: ConnectionFlags) => {
      await withClient(flags, async (carillon) => {
        const letter = await carillon.deadLetter(seq)
        if (flags.json === true) return printJson(letter)
        for (const line of formatLetter(letter)) print(line)
      })
    })
}

function addRedrive(dead: Command): void {
  addConnectionOptions(
    dead.command('redrive').description('send the inputs of dead letters to their instances again; twice is a repeat'),
  )
    .argument('<seq...>', 'the dead letters, as listed', (text: string, before: readonly number[] | undefined) => [
      ...(before ?? []),
      parseSeq(text),
    ])
    .addOption(
      new Option('--wait <until>', 'go on when the input is durable, or when its handler is done')
        .choices(['accepted', 'applied'])
        .default('accepted'),
    )
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for each outcome; default 30s').argParser(parseDuration),
    )
    .addHelpText(
      'after',
      `\nThey are sent one after the other; the first that fails ends the command.\n\nExamples:\n  $ carillon dead redrive 12 13 --wait applied`,
    )
    .action(async (seqs: readonly number[], flags: RedriveFlags) => {
      const { wait, timeout, json } = flags
      await withClient(flags, async (carillon) => {
        for (const deadSeq of seqs) {
          const accepted = await carillon.redrive(deadSeq, { wait, timeoutMs: timeout })
          const { seq, id, duplicate } = accepted
          if (json === true) printJson({ deadSeq, ...accepted })
          else print(`${deadSeq}: ${wait} at seq ${seq}, id ${id}${duplicate ? ', a repeat: it changed nothing' : ''}`)
        }
      })
    })
}

/** A table shows none, and a hundred may be large. */
function withoutPayload(letter: DeadLetter): DeadLetter {
  return { ...letter, payload: undefined, bytes: new Uint8Array() }
}

function formatLetters(letters: readonly DeadLetter[]): string[] {
  if (letters.length === 0) return ['no dead letters']
  return formatTable(
    [
      { title: 'DEAD', cell: ({ seq }) => seq },
      { title: 'TIME', cell: ({ time }) => time.toISOString() },
      { title: 'TYPE', cell: ({ type }) => type },
      { title: 'ID', cell: ({ id }) => id },
      { title: 'INPUT', cell: formatInput },
      { title: 'SEQ', cell: ({ originSeq }) => originSeq },
      { title: 'REASON', cell: ({ reason }) => `${reason.code}: ${reason.message}` },
    ],
    letters,
  )
}

function formatLetter(letter: DeadLetter): string[] {
  const { seq, time, type, id, inputId, reason, originSeq, payload, unreadable, bytes } = letter
  return formatFields({
    'dead letter': `${seq}, ${time.toISOString()}`,
    instance: type === undefined ? undefined : `${type}/${id}`,
    input: formatInput(letter),
    'input id': inputId,
    'journal seq': originSeq,
    reason: `${reason.code}: ${reason.message}`,
    payload: unreadable === undefined ? (payload === undefined ? undefined : toJson(payload)) : undefined,
    unreadable,
    bytes: unreadable === undefined ? undefined : `${bytes.length}, base64 ${Buffer.from(bytes).toString('base64')}`,
  })
}

function formatInput({ kind, name }: DeadLetter): string {
  return [kind, name].filter((part) => part !== undefined && part !== '').join(' ')
}

function parseSeq(text: string): number {
  try {
    return parseWhole(text)
  } catch {
    throw new InvalidArgumentError('It must be the number of a dead letter: carillon dead list shows them.')
  }
}
