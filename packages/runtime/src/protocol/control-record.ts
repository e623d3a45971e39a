/** What operators have set for a whole namespace: one KV entry, JSON, changed by compare-and-set. */
import { CarillonError } from '../errors.ts'
import { decodeToken, encodeToken, quote } from './ids.ts'

/** The key of the entry in the bucket `<ns>-cluster` (`Subjects.clusterBucket`). */
export const CONTROLS_KEY = 'controls'
/** Workflow types, and activities, that may be paused at once: the entry must stay under a message's size. */
export const CONTROLS_MAX = 256

/** The key of one activity: `<type token>.<activity token>`. */
export type ActivityKey = `${string}.${string}`

/** Which parts of a namespace are paused. Sets of tokens (`encodeToken`). */
export interface ControlState {
  /** Workflow types whose instances take no inputs now. */
  readonly pausedTypes: ReadonlySet<string>
  /** Activities that nobody begins now. */
  readonly pausedActivities: ReadonlySet<ActivityKey>
}

export const NOTHING_PAUSED: ControlState = { pausedTypes: new Set(), pausedActivities: new Set() }

/** @throws INVALID_ID */
export function activityKey(type: string, activity: string): ActivityKey {
  return `${encodeToken(type, 'workflow type')}.${encodeToken(activity, 'activity name')}`
}

export function formatControls({ pausedTypes, pausedActivities }: ControlState): string {
  return JSON.stringify({
    pausedTypes: [...pausedTypes].toSorted(),
    pausedActivities: [...pausedActivities].toSorted(),
  })
}

/** @throws CLUSTER_MISMATCH when the entry is none that this release can read. */
export function parseControls(text: string): ControlState {
  const raw = parseJson(text)
  const { pausedTypes, pausedActivities } = raw
  if (!isTokens(pausedTypes, 1) || !isTokens(pausedActivities, 2))
    throw new CarillonError(
      'CLUSTER_MISMATCH',
      `the entry ${CONTROLS_KEY} of the cluster's bucket is ${quote(text.slice(0, 200))}, not { pausedTypes, pausedActivities } with lists of tokens: write it with the release that the nodes run`,
    )
  return { pausedTypes: new Set(pausedTypes), pausedActivities: new Set(pausedActivities as ActivityKey[]) }
}

function parseJson(text: string): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(text) ?? {}) as Record<string, unknown>
  } catch {
    return {}
  }
}

function isTokens(value: unknown, parts: number): value is string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string' && isKey(text, parts))
}

function isKey(text: string, parts: number): boolean {
  const tokens = text.split('.')
  try {
    for (const token of tokens) decodeToken(token)
    return tokens.length === parts
  } catch {
    return false
  }
}
