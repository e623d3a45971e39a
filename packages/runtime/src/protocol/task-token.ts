/**
 * Tokens of tasks: whoever has one may complete the task that it names.
 *
 * A token is the tail of a subject of the public door: `<type token>.<id token>.task=3A<seq>-<index>-<mac>`, so one publish of the result on
 * `<ns>.signal.<token>` completes the task. The last part is the name of a signal that no contract may declare. The mac is an HMAC under the cluster's
 * secret: the same whenever the turn is folded again, and not to be guessed by anybody who does not know that secret.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

import { CarillonError } from '../errors.ts'
import { decodeToken, encodeToken, quote } from './ids.ts'
import type { InstanceKey } from './subjects.ts'

/** What can be done with a token, and how the signal that does it is called. */
const PREFIXES = { complete: 'task:', fail: 'task-failed:', heartbeat: 'task-alive:' } as const
export type TaskDeed = keyof typeof PREFIXES

export interface TaskToken {
  readonly type: string
  readonly id: string
  /** The part of the token that every deed's name ends with. */
  readonly rest: string
}

export interface TaskName {
  readonly deed: TaskDeed
  readonly effect: `${number}.${number}`
  readonly mac: string
}

/** 132 bits of the digest. */
const MAC_CHARS = 22
const REST = /^(\d{1,15})-(\d{1,7})-([A-Za-z0-9_-]{22})$/

export function formatTaskToken(key: InstanceKey, effect: string, secret: string): string {
  return `${key}.${encodeToken(`${PREFIXES.complete}${effect.replace('.', '-')}-${macOf(key, effect, secret)}`)}`
}

/** @throws INVALID_ID when the text is no token. It may be one of a task that is not open, or never was. */
export function parseTaskToken(text: string): TaskToken {
  const [type, id, name, ...more] = typeof text === 'string' ? text.split('.') : []
  try {
    if (type !== undefined && id !== undefined && name !== undefined && more.length === 0) {
      const decoded = decodeToken(name)
      const rest = decoded.slice(PREFIXES.complete.length)
      if (decoded.startsWith(PREFIXES.complete) && REST.test(rest))
        return { type: decodeToken(type), id: decodeToken(id), rest }
    }
  } catch {
    // Told below.
  }
  throw new CarillonError('INVALID_ID', `${quote(text)} is not the token of a task: pass it on as ctx.task gave it`)
}

/** The name of the signal that does something with a token. */
export function taskSignal({ rest }: TaskToken, deed: TaskDeed): string {
  return `${PREFIXES[deed]}${rest}`
}

/** What the name of a signal asks of a task; undefined when it is about none. */
export function parseTaskName(name: string): TaskName | undefined {
  for (const deed of ['complete', 'fail', 'heartbeat'] as const) {
    if (!name.startsWith(PREFIXES[deed])) continue
    const [, seq, index, mac = ''] = REST.exec(name.slice(PREFIXES[deed].length)) ?? []
    return seq === undefined ? undefined : { deed, effect: `${seq}.${index}` as TaskName['effect'], mac }
  }
  return undefined
}

/** Whether a name belongs to tasks, so that no contract may declare it. */
export function isTaskName(name: string): boolean {
  return Object.values(PREFIXES).some((prefix) => name.startsWith(prefix))
}

export function isMacOf(mac: string, key: InstanceKey, effect: string, secret: string): boolean {
  return timingSafeEqual(Buffer.from(mac), Buffer.from(macOf(key, effect, secret)))
}

function macOf(key: InstanceKey, effect: string, secret: string): string {
  return createHmac('sha256', secret).update(`${key}/${effect}`).digest('base64url').slice(0, MAC_CHARS)
}
