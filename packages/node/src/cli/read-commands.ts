/** `carillon query`, `result`, `describe`, `history`: reads. */
import type { ReadOptions } from '@carillon/client'
import { CarillonError, type ReadFrom } from '@carillon/runtime'
import { type Command, Option } from 'commander'

import { withClient } from './client.ts'
import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { formatDescription, formatHistory } from './formats.ts'
import { parseDuration, parseWhole, readFrom } from './option-values.ts'
import { print, printJson, toJson } from './output.ts'
import { readPayload } from './payload.ts'
import { printStates, type StateHistoryFlags } from './state-history.ts'

interface ReadFlags extends ConnectionFlags {
  readonly timeout?: number
  readonly linearizable?: boolean
  readonly from: ReadFrom
}

interface HistoryFlags extends ConnectionFlags, StateHistoryFlags {
  readonly state?: boolean
  readonly partial?: boolean
}

/** Rows that are laid out together; a history has no end that could be waited for. */
const HISTORY_CHUNK = 100

export function addReadCommands(program: Command): void {
  addQuery(program)
  addResult(program)
  addDescribe(program)
  addHistory(program)
}

function addQuery(program: Command): void {
  reading(
    ofInstance(program.command('query'), 'ask an instance, and print the answer')
      .argument('<name>', 'the query’s name')
      .argument('[input]', 'JSON, or - for stdin'),
    '15s',
  )
    .addOption(linearizable())
    .addOption(readFrom())
    .addHelpText(
      'after',
      `\nExamples:\n  $ carillon query loyalty customer-42 status\n  $ carillon query loyalty customer-42 orders '{"limit": 10}' --json`,
    )
    .action(async (type: string, id: string, name: string, text: string | undefined, flags: ReadFlags) => {
      const input = await readPayload(text)
      await withClient(flags, async (carillon) => {
        printValue(await carillon.workflow(type, id).query(name, input, readOptions(flags)), flags)
      })
    })
}

function addResult(program: Command): void {
  reading(ofInstance(program.command('result'), 'wait until an instance has closed, and print its result'), '1 hour')
    .addHelpText('after', `\nExamples:\n  $ carillon result loyalty customer-42 --timeout 30s`)
    .action(async (type: string, id: string, flags: ReadFlags) => {
      await withClient(flags, async (carillon) =>
        printValue(await carillon.workflow(type, id).result({ timeoutMs: flags.timeout }), flags),
      )
    })
}

function addDescribe(program: Command): void {
  reading(
    ofInstance(program.command('describe'), 'what is known of an instance: status, position, timers, activities'),
    '15s',
  )
    .addOption(linearizable())
    .addOption(readFrom())
    .addHelpText('after', `\nExamples:\n  $ carillon describe loyalty customer-42`)
    .action(async (type: string, id: string, flags: ReadFlags) => {
      await withClient(flags, async (carillon) => {
        const description = await carillon.workflow(type, id).describe(readOptions(flags))
        if (flags.json === true) return printJson(description)
        for (const line of formatDescription(description)) print(line)
      })
    })
}

function addHistory(program: Command): void {
  addConnectionOptions(
    ofInstance(program.command('history'), 'the inputs of an instance as the journal holds them, in order'),
  )
    .addOption(new Option('--from <seq>', 'the first sequence of interest').argParser(parseWhole))
    .addOption(new Option('--limit <rows>', 'at most so many').argParser(parseWhole))
    .option('--partial', 'where the journal has been trimmed: what is left of them')
    .option('--state', 'the state after every input, what changed in it, and what the input asked for (>)')
    .addOption(new Option('--at <seq>', 'with --state: only the state as of this sequence').argParser(parseWhole))
    .option('--workflows <file...>', 'with --state: the files that implement the type')
    .addHelpText(
      'after',
      `\nWith --json one line of JSON an input. States are computed here, from the first input on, by the code that is given.\n\nExamples:\n  $ carillon history loyalty customer-42\n  $ carillon history loyalty customer-42 --from 1200 --limit 10 --json\n  $ carillon history loyalty customer-42 --state --workflows workflow.ts\n  $ carillon history loyalty customer-42 --state --at 1200 --workflows workflow.ts`,
    )
    .action(async (type: string, id: string, flags: HistoryFlags) => {
      if (flags.state !== true) refuseWithoutState(flags)
      await withClient(flags, async (carillon) => {
        if (flags.state === true) return printStates(carillon, type, id, flags)
        const entries = carillon
          .workflow(type, id)
          .history({ from: flags.from, limit: flags.limit, partial: flags.partial })
        if (flags.json === true) for await (const entry of entries) printJson(entry)
        else
          for await (const chunk of inChunks(entries, HISTORY_CHUNK))
            for (const line of formatHistory(chunk)) print(line)
      })
    })
}

function refuseWithoutState({ at, workflows }: HistoryFlags): void {
  const given = at === undefined ? workflows && '--workflows' : '--at'
  if (given === undefined) return
  throw new CarillonError('CONFIG_INVALID', `${given} goes with --state: add it`)
}

function ofInstance(command: Command, description: string): Command {
  return command.description(description).argument('<type>', 'the workflow type').argument('<id>', 'the instance’s id')
}

function reading(command: Command, timeout: string): Command {
  return addConnectionOptions(
    command.addOption(
      new Option('--timeout <duration>', `how long to wait; default ${timeout}`).argParser(parseDuration),
    ),
  )
}

function linearizable(): Option {
  return new Option('--linearizable', 'see every input that anybody has had acknowledged before')
}

function readOptions({ timeout, linearizable: isLinearizable, from }: ReadFlags): ReadOptions {
  return { timeoutMs: timeout, consistency: isLinearizable === true ? 'linearizable' : 'session', from }
}

function printValue(value: unknown, flags: ConnectionFlags): void {
  print(toJson(value, flags.json === true ? undefined : 2))
}

async function* inChunks<T>(items: AsyncIterable<T>, size: number): AsyncIterable<readonly T[]> {
  let chunk: T[] = []
  for await (const item of items) {
    chunk.push(item)
    if (chunk.length < size) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}
