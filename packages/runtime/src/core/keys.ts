/**
 * Keys of the node's store. All are ASCII; numbers are fixed-width hex, so that bytewise order is the order of their meaning.
 *
 * | table  | key                                             | value                                              |
 * | ------ | ----------------------------------------------- | -------------------------------------------------- |
 * | meta   | `position/<p>`                                  | the last applied seq of the partition, as msgpack  |
 * | meta   | `count/<p>/<type>`                              | instances of each status, by the status's code     |
 * | meta   | `patch/<p>/<type>/<patch>`                      | the seq since which the patch is active            |
 * | meta   | `due/<p>/<type>.<id>`                           | empty: an instance waits for the host alone        |
 * | meta   | `restoring/<p>`                                 | a restore has begun and not ended                  |
 * | meta   | `changed/<p>/<seq>`                             | instances changed by the commits at that position  |
 * | meta   | `tracked/<p>`                                   | since which position those rows hold every change  |
 * | record | `<p>/<type>.<id>`                               | an instance: summary and last quiescent data       |
 * | tail   | `<p>/<type>.<id>/<seq>`                         | an input that the data of the record does not hold |
 * | ids    | `<p>/<type>.<id>/<block>`                       | 64 known ids                                       |
 * | timer  | `<p>/<due ms>/<type>.<id>/<effect>`             | the timer's name                                   |
 * | effect | `<p>/<seq>.<index>/<type>.<id>`                 | a pending activity, send or dead letter            |
 * | index  | `<p>/<type>/<attribute>/<value>/<id>`           | a byte: the status of the instance                 |
 */
import { decodeToken, type InstanceKey, type Partition, type Token } from '../protocol/index.ts'
import type { Range, Table } from '../ports/index.ts'
import type { EffectId } from './effect.ts'

/** The first key behind every key that starts with `<text>/`: `0` follows `/` in ASCII. */
const BEHIND_SLASH = '0'

function hex(value: number, width: number): string {
  return value.toString(16).padStart(width, '0')
}

function part(partition: Partition): string {
  return hex(partition, 4)
}

export function positionKey(partition: Partition): string {
  return `position/${part(partition)}`
}

/** There while the partition's rows are half of what is being restored: nothing may be built upon them. */
export function restoringKey(partition: Partition): string {
  return `restoring/${part(partition)}`
}

/** How many instances of a type there are. */
export function countKey(partition: Partition, typeToken: string): string {
  return `count/${part(partition)}/${typeToken}`
}

export function typeOfCountKey(text: string): string {
  return text.slice(text.lastIndexOf('/') + 1)
}

export function countRange(partition: Partition): Range {
  return { from: `count/${part(partition)}/`, to: `count/${part(partition)}${BEHIND_SLASH}` }
}

export function patchKey(partition: Partition, type: Token, patch: Token): string {
  return `patch/${part(partition)}/${type}/${patch}`
}

export function parsePatchKey(key: string): { readonly type: string; readonly patch: string } {
  const [, , type = '', patch = ''] = key.split('/')
  return { type, patch: decodeToken(patch) }
}

/** The active patches of a partition. */
export function patchRange(partition: Partition): Range {
  return { from: `patch/${part(partition)}/`, to: `patch/${part(partition)}${BEHIND_SLASH}` }
}

export function dueKey(partition: Partition, key: InstanceKey): string {
  return `due/${part(partition)}/${key}`
}

/** Instances of a partition that wait for the host alone, from behind one. */
export function dueRange(partition: Partition, after: InstanceKey | undefined, limit: number): Range {
  const prefix = `due/${part(partition)}`
  return { from: after === undefined ? `${prefix}/` : `${prefix}/${after}\u0000`, to: prefix + BEHIND_SLASH, limit }
}

/** The instance of such a row. */
export function instanceOfDueKey(text: string): InstanceKey {
  return text.slice(text.lastIndexOf('/') + 1) as InstanceKey
}

export function recordKey(partition: Partition, key: InstanceKey): string {
  return `${part(partition)}/${key}`
}

/** The instance of a record's key. */
export function instanceOfRecordKey(text: string): InstanceKey {
  return text.slice(text.indexOf('/') + 1) as InstanceKey
}

/** Records of a partition, in the order of their keys; of one type, and behind one key, where given. */
export function recordRange(partition: Partition, typeToken: string | undefined, after: string | undefined): Range {
  const prefix = `${part(partition)}/`
  const from =
    after === undefined ? `${prefix}${typeToken === undefined ? '' : `${typeToken}.`}` : `${prefix}${after}\u0000`
  // `/` follows `.` in ASCII: the first key behind every `<type>.…`.
  return { from, to: typeToken === undefined ? part(partition) + BEHIND_SLASH : `${prefix}${typeToken}/` }
}

export function tailKey(partition: Partition, key: InstanceKey, seq: number): string {
  return `${part(partition)}/${key}/${hex(seq, 14)}`
}

/** Tail of an instance, or its blocks of known ids. */
export function instanceRange(partition: Partition, key: InstanceKey): Range {
  const prefix = `${part(partition)}/${key}`
  return { from: `${prefix}/`, to: prefix + BEHIND_SLASH }
}

export function blockKey(partition: Partition, key: InstanceKey, block: number): string {
  return `${part(partition)}/${key}/${hex(block, 10)}`
}

export function timerKey(partition: Partition, key: InstanceKey, dueMs: number, effect: EffectId): string {
  return `${part(partition)}/${hex(Math.max(0, dueMs), 12)}/${key}/${effect}`
}

export interface TimerRow {
  readonly dueMs: number
  readonly key: InstanceKey
  readonly effect: EffectId
}

export function parseTimerKey(text: string): TimerRow {
  const [, due, key, effect] = text.split('/')
  return { dueMs: Number.parseInt(due ?? '', 16), key: key as InstanceKey, effect: effect as EffectId }
}

/** Timers of a partition that are due at `untilMs`, the earliest first. */
export function timerRange(partition: Partition, untilMs: number, limit: number): Range {
  return { from: `${part(partition)}/`, to: `${part(partition)}/${hex(untilMs + 1, 12)}`, limit }
}

/** The instance is part of the key, so that a forged result for one instance ends no effect of another. */
export function effectKey(partition: Partition, effect: EffectId, key: InstanceKey | undefined): string {
  const [seq, index] = effect.split('.')
  return `${part(partition)}/${hex(Number(seq), 14)}.${hex(Number(index), 6)}/${key ?? ''}`
}

/** The sequence of the input that asked for an effect. */
export function seqOfEffectKey(key: string): number {
  const from = key.indexOf('/') + 1
  return Number.parseInt(key.slice(from, key.indexOf('.', from)), 16)
}

/** Pending effects of a partition in the order of their turns, from behind a key, up to another where that is given. */
export function effectRange(partition: Partition, after: string | undefined, limit: number, until?: string): Range {
  return {
    from: after === undefined ? `${part(partition)}/` : `${after}\u0000`,
    to: until === undefined ? part(partition) + BEHIND_SLASH : `${until}\u0000`,
    limit,
  }
}

/** Rows of one attribute of one type: all of them, or those whose `<value>/` lies in a span. */
export function indexRange(
  partition: Partition,
  typeToken: string,
  attribute: string,
  span: IndexSpan = { from: '', to: ALL_VALUES },
): Range {
  const prefix = `${part(partition)}/${typeToken}/${attribute}/`
  return { from: prefix + span.from, to: prefix + span.to }
}

/** Values of the index from one text to another, exclusive; a value ends in `/` there. */
export interface IndexSpan {
  readonly from: string
  readonly to: string
}

/** Behind every value. */
const ALL_VALUES = '~'

export function indexKey(partition: Partition, key: InstanceKey, attribute: string, value: string): string {
  const dot = key.indexOf('.')
  return `${part(partition)}/${key.slice(0, dot)}/${attribute}/${value}/${key.slice(dot + 1)}`
}

/** Value and id token of a row. */
export function parseIndexKey(text: string): { readonly value: string; readonly idToken: string } {
  const [, , , value = '', idToken = ''] = text.split('/')
  return { value, idToken }
}

/** Which instances the commits changed that ended at a position. */
export function changedKey(partition: Partition, seq: number): string {
  return `changed/${part(partition)}/${hex(seq, 14)}`
}

/** The position in such a key. */
export function seqOfChangedKey(text: string): number {
  return Number.parseInt(text.slice(text.lastIndexOf('/') + 1), 16)
}

export function changedRange(partition: Partition): Range {
  return { from: `changed/${part(partition)}/`, to: `changed/${part(partition)}${BEHIND_SLASH}` }
}

export function trackedKey(partition: Partition): string {
  return `tracked/${part(partition)}`
}

/** All rows of a partition in a table that is not `meta`. */
export function partitionRange(partition: Partition): Range {
  return { from: `${part(partition)}/`, to: part(partition) + BEHIND_SLASH }
}

/** Rows of `meta` that instances of a partition wait for the host alone. */
export function allDueRange(partition: Partition): Range {
  return { from: `due/${part(partition)}/`, to: `due/${part(partition)}${BEHIND_SLASH}` }
}

/** The row's owner where it is none of the instances: patches, and dead letters of messages that name no instance. */
export const NO_INSTANCE = ''

/** Whose a row is. */
export interface RowOwner {
  readonly partition: Partition
  readonly key: InstanceKey | typeof NO_INSTANCE
}

/** Whose a row is; undefined where it follows from others, as the index does, or is of this store alone. */
export function ownerOfRow(table: Table, key: string): RowOwner | undefined {
  switch (table) {
    case 'record':
      return ownerOf(key, PART, key.length)
    case 'tail':
    case 'ids':
      return ownerOf(key, PART, key.lastIndexOf('/'))
    case 'timer':
      return ownerOf(key, key.indexOf('/', PART) + 1, key.lastIndexOf('/'))
    case 'effect':
      return ownerOf(key, key.indexOf('/', PART) + 1, key.length)
    case 'index':
      return undefined
    case 'meta':
      if (key.startsWith('due/')) return ownerOf(key.slice(DUE), PART, key.length)
      return key.startsWith('patch/') ? ownerOf(key.slice(PATCH), 0, 0) : undefined
  }
}

/** Characters of `<p>/`, `due/` and `patch/`. */
const PART = 5
const DUE = 4
const PATCH = 6

function ownerOf(key: string, start: number, end: number): RowOwner {
  return {
    partition: Number.parseInt(key.slice(0, PART - 1), 16) as Partition,
    key: key.slice(start, end) as RowOwner['key'],
  }
}
