/**
 * Options that say which instances a command is for. A condition on an attribute is text: the owner of each partition reads its value as the declared
 * kind says, because this program does not know the contract.
 */
import type { InstanceFilter } from '@carillon/runtime'
import { type Condition, type ConditionOp, INSTANCE_STATUSES, type InstanceStatus } from '@carillon/runtime/protocol'
import { type Command, InvalidArgumentError, Option } from 'commander'

import { parseDuration } from './option-values.ts'
import { note } from './output.ts'

export interface FilterFlags {
  readonly type?: string
  readonly status?: InstanceStatus
  readonly startedAfter?: number
  readonly startedBefore?: number
  readonly closedAfter?: number
  readonly closedBefore?: number
  readonly where?: readonly Condition[]
  readonly partial?: boolean
}

const OPS: Readonly<Record<string, ConditionOp>> = {
  '=': 'is',
  '>=': 'atLeast',
  '>': 'above',
  '<=': 'atMost',
  '<': 'below',
  '^=': 'startsWith',
}
const CONDITION = /^(!?)([A-Za-z][A-Za-z0-9_]*)(?:(\^=|>=|<=|=|>|<)(.*))?$/s

export const WHERE_HELP = `
Conditions (--where, all of them must hold; they need --type):
  region=eu       is the value; of several texts, one of them
  points>=1000    also >, <= and <: numbers, and times as ISO 8601 or milliseconds since 1970
  region^=eu-     a text that begins so
  region          is set
  '!region'       is not set
Values are read as the kind that the contract declares: text, number, bool (true or false), time, texts.
Times (--started-after, …) are ISO 8601, or so long ago: '2 hours'.`

export function addFilterOptions(command: Command): Command {
  const time = (flags: string, text: string) => new Option(flags, text).argParser(parseMoment)
  return command
    .option('--type <type>', 'of this workflow type only')
    .addOption(new Option('--status <status>', 'with this status only').choices(INSTANCE_STATUSES))
    .addOption(new Option('--where <condition>', 'by an attribute, see below; may be repeated').argParser(addCondition))
    .addOption(time('--started-after <time>', 'started later than this'))
    .addOption(time('--started-before <time>', 'started earlier than this'))
    .addOption(time('--closed-after <time>', 'closed later than this'))
    .addOption(time('--closed-before <time>', 'closed earlier than this'))
    .option('--partial', 'do without the partitions that give no answer, and name them')
}

/** The options as the client takes them. */
export function toFilter(flags: FilterFlags): InstanceFilter & {
  readonly onMissing: ((partition: number, error: Error) => void) | undefined
} {
  const { type, status, startedAfter, startedBefore, closedAfter, closedBefore, where } = flags
  const onMissing = (partition: number, error: Error): void =>
    note(`partition ${partition} is missing: ${error.message}`)
  return {
    type,
    status,
    startedAfter,
    startedBefore,
    closedAfter,
    closedBefore,
    conditions: where,
    onMissing: flags.partial === true ? onMissing : undefined,
  }
}

export function parseCondition(text: string): Condition {
  const [, not = '', attribute = '', sign, value = ''] = CONDITION.exec(text) ?? []
  const op = sign === undefined ? 'isSet' : OPS[sign]
  if (attribute === '' || op === undefined || (not === '!' && sign !== undefined))
    throw new InvalidArgumentError(
      `It must be an attribute and what it is asked for, for example 'region=eu', 'points>=1000', 'region' or '!region'.`,
    )
  return { attribute, op, text: sign === undefined ? String(not === '') : value }
}

function addCondition(text: string, earlier: readonly Condition[] = []): readonly Condition[] {
  return [...earlier, parseCondition(text)]
}

/** Milliseconds since the epoch. */
export function parseMoment(text: string): number {
  if (/^\d{4}-\d{2}/.test(text)) {
    const ms = Date.parse(text)
    if (!Number.isNaN(ms)) return ms
  } else {
    try {
      return Date.now() - parseDuration(text)
    } catch {
      // Told below, with both ways to say it.
    }
  }
  throw new InvalidArgumentError(
    `It must be a time as ISO 8601, or so long ago, for example '2026-05-01' or '2 hours'.`,
  )
}
