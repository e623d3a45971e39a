/** `carillon list`, `count`: which instances there are, and how many. */
import type { GroupBy, ReadFrom } from '@carillon/runtime'
import { type Command, Option } from 'commander'

import { withClient } from './client.ts'
import { addConnectionOptions, type ConnectionFlags } from './connection-options.ts'
import { addFilterOptions, type FilterFlags, toFilter, WHERE_HELP } from './filter-options.ts'
import { formatGroups, formatList } from './formats.ts'
import { parseDuration, parseWhole, readFrom } from './option-values.ts'
import { note, print, printJson } from './output.ts'

interface ReadFlags extends ConnectionFlags, FilterFlags {
  readonly timeout?: number
  readonly from: ReadFrom
}

interface ListFlags extends ReadFlags {
  readonly limit: number
  readonly after?: string
}

interface CountFlags extends ReadFlags {
  readonly groupBy?: GroupBy
}

/** In front of the name of an attribute that is also something else that is counted by. */
const ATTRIBUTE = 'attribute:'

export function addListCommands(program: Command): void {
  addList(program)
  addCount(program)
}

function addList(program: Command): void {
  reading(addFilterOptions(program.command('list').description('list instances, a page at a time')))
    .addOption(new Option('--limit <rows>', 'rows of the page, at most 1000').argParser(parseWhole).default(100))
    .option('--after <next>', 'where the page before ended: its “next”')
    .addHelpText(
      'after',
      `${WHERE_HELP}\n\nExamples:\n  $ carillon list --type loyalty --status suspended\n  $ carillon list --type loyalty --where level=gold --where 'points>=1000' --json\n  $ carillon list --started-after '2 hours' --limit 1000\n  $ carillon list --after '12/loyalty.customer-42'`,
    )
    .action(async (flags: ListFlags) => {
      const { limit, after, timeout, from } = flags
      await withClient(flags, async (carillon) => {
        const page = await carillon.listPage({ ...toFilter(flags), limit, after, timeoutMs: timeout, from })
        if (flags.json === true) return printJson({ rows: page.rows, next: page.next ?? null })
        for (const line of formatList(page.rows)) print(line)
        if (page.next !== undefined) note(`more: --after '${page.next}'`)
      })
    })
}

function addCount(program: Command): void {
  reading(addFilterOptions(program.command('count').description('count instances')))
    .addOption(
      new Option(
        '--group-by <what>',
        `count by status, by type, or by an attribute; '${ATTRIBUTE}status' where one has such a name`,
      ).argParser(parseGroupBy),
    )
    .addHelpText(
      'after',
      `${WHERE_HELP}\n\nExamples:\n  $ carillon count --type loyalty\n  $ carillon count --group-by status\n  $ carillon count --type loyalty --status running --group-by level --json`,
    )
    .action(async (flags: CountFlags) => {
      const { groupBy, timeout, from } = flags
      await withClient(flags, async (carillon) => {
        const options = { ...toFilter(flags), timeoutMs: timeout, from }
        if (groupBy === undefined) {
          const count = await carillon.count(options)
          return flags.json === true ? printJson({ count }) : print(String(count))
        }
        const groups = await carillon.count({ ...options, groupBy })
        if (flags.json === true) return printJson({ groups })
        for (const line of formatGroups(groups)) print(line)
      })
    })
}

function reading(command: Command): Command {
  return addConnectionOptions(
    command
      .addOption(new Option('--timeout <duration>', 'how long to wait; default 15s').argParser(parseDuration))
      .addOption(readFrom()),
  )
}

function parseGroupBy(text: string): GroupBy {
  if (text === 'status' || text === 'type') return text
  return { attribute: text.startsWith(ATTRIBUTE) ? text.slice(ATTRIBUTE.length) : text }
}
