/** Answers of the cluster as text, for people. */
import type { HistoryEntry } from '@carillon/client'
import type { CountGroup, InstanceRow } from '@carillon/runtime'
import type { Description, OpenTaskRow } from '@carillon/runtime/protocol'

import { toJson } from './output.ts'
import { formatFields, formatTable } from './table.ts'

const PAYLOAD_CHARS_MAX = 200
/** A token is of no use when it is cut. */
const TOKEN_CHARS_MAX = 2000

export function formatList(rows: readonly InstanceRow[]): string[] {
  if (rows.length === 0) return ['no instances']
  return formatTable(
    [
      { title: 'TYPE', cell: (row) => row.type },
      { title: 'ID', cell: (row) => row.id },
      { title: 'STATUS', cell: (row) => row.status },
      { title: 'STARTED', cell: (row) => formatTime(row.startedMs) },
      { title: 'SEQ', cell: (row) => row.seq },
      ...(rows.some(({ attributes }) => attributes !== undefined)
        ? [{ title: 'ATTRIBUTES', cell: (row: InstanceRow) => formatAttributes(row.attributes) }]
        : []),
    ],
    rows,
  )
}

export function formatTasks(tasks: readonly OpenTaskRow[]): string[] {
  if (tasks.length === 0) return ['no open tasks']
  return formatTable(
    [
      { title: 'TASK', cell: (task) => task.name },
      { title: 'DEADLINE', cell: ({ dueMs }) => (dueMs === undefined ? '' : formatTime(dueMs)) },
      { title: 'INPUT', cell: ({ input }) => (input === undefined ? '' : toJson(input)) },
      { title: 'TOKEN', cell: ({ token }) => token, max: TOKEN_CHARS_MAX },
    ],
    tasks,
  )
}

export function formatGroups(groups: readonly CountGroup[]): string[] {
  if (groups.length === 0) return ['no instances']
  return formatTable(
    [
      { title: 'COUNT', cell: (group) => group.count },
      { title: 'VALUE', cell: ({ value }) => (value instanceof Date ? value.toISOString() : String(value)) },
    ],
    groups,
  )
}

export function formatHistory(entries: readonly HistoryEntry[]): string[] {
  return formatTable(
    [
      { title: 'SEQ', cell: (entry) => entry.seq },
      { title: 'TIME', cell: (entry) => entry.time.toISOString() },
      { title: 'KIND', cell: (entry) => entry.kind },
      { title: 'NAME', cell: (entry) => entry.name },
      { title: 'ID', cell: (entry) => entry.id },
      { title: 'PAYLOAD', cell: formatPayload, max: PAYLOAD_CHARS_MAX },
    ],
    entries,
  )
}

export function formatDescription(description: Description): string[] {
  const { suspended, paused, closed } = description
  return formatFields({
    instance: `${description.type}/${description.id}`,
    status: description.status,
    suspended:
      suspended === undefined
        ? undefined
        : `at seq ${suspended.seq}: ${suspended.error.code}: ${suspended.error.message}`,
    retry:
      suspended?.retry === undefined ? undefined : `${suspended.retry.tries}, at ${formatTime(suspended.retry.dueMs)}`,
    paused: paused === undefined ? undefined : formatPause(paused),
    closed: closed === undefined ? undefined : `at seq ${closed.seq}, ${formatTime(closed.timeMs)}`,
    result: closed?.outcome.ok === true ? toJson(closed.outcome.value) : undefined,
    failure: closed?.outcome.ok === false ? `${closed.outcome.error.code}: ${closed.outcome.error.message}` : undefined,
    started: formatTime(description.startedMs),
    incarnation: description.incarnation,
    attributes: description.attributes === undefined ? undefined : formatAttributes(description.attributes),
    'last input': `seq ${description.seq}, ${formatTime(description.timeMs)}`,
    partition: description.partition,
    queued: description.queued,
    mailbox: description.mailbox,
    'waiting since': description.waitingSince === undefined ? undefined : `seq ${description.waitingSince}`,
    'known ids': description.knownIds,
    activities: description.activities.map(({ name, callId }) => `${name} (${callId})`).join(', ') || undefined,
    timers: description.timers.map(({ name, dueMs }) => `${name} at ${formatTime(dueMs)}`).join(', ') || undefined,
    tasks: description.tasks?.map(({ name, token }) => `${name} (${token})`).join(', '),
    digest: description.digest,
  })
}

function formatAttributes(attributes: InstanceRow['attributes']): string {
  return Object.entries(attributes ?? {})
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : toJson(value).replaceAll('"', '')}`)
    .join(' ')
}

function formatPause(paused: NonNullable<Description['paused']>): string {
  if (paused.by === 'type') return 'with its type'
  const because = paused.reason === undefined ? '' : `: ${paused.reason}`
  return `at seq ${paused.seq}, ${formatTime(paused.timeMs)}${because}`
}

function formatPayload({ payload, unreadable }: HistoryEntry): string {
  if (unreadable !== undefined) return `unreadable: ${unreadable}`
  return payload === undefined ? '' : toJson(payload)
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString()
}
