/** Reads and changes what is set for the whole namespace. */
import { CarillonError } from '@carillon/runtime'
import {
  CONTROLS_KEY,
  CONTROLS_MAX,
  type ControlState,
  decodeToken,
  encodeToken,
  activityKey,
  formatControls,
  NOTHING_PAUSED,
  parseControls,
  type Subjects,
} from '@carillon/runtime/protocol'
import { JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream'

import { redact } from './connection.ts'

/** What is paused, by name. */
export interface PausedParts {
  readonly types: readonly string[]
  readonly activities: readonly { readonly type: string; readonly activity: string }[]
}

/** A part of the namespace that may be paused: a workflow type, or one of its activities. */
export interface ControlPart {
  readonly type: string
  readonly activity?: string | undefined
}

/** The state with its revision: 0 when nothing has ever been set. */
interface StoredControls {
  readonly state: ControlState
  readonly revision: number
}

const ATTEMPTS_MAX = 10
const WRONG_LAST_SEQUENCE = 10071

export function controlsSubject({ clusterBucket }: Subjects): string {
  return `$KV.${clusterBucket}.${CONTROLS_KEY}`
}

/** @throws CLUSTER_MISMATCH when this release cannot read the entry. @throws TIMEOUT when the server gives no answer. */
export async function readControls(jsm: JetStreamManager, subjects: Subjects): Promise<StoredControls> {
  const query = { last_by_subj: controlsSubject(subjects) }
  const stored = await jsm.streams.getMessage(`KV_${subjects.clusterBucket}`, query).catch(noAnswer)
  if (stored === null) return { state: NOTHING_PAUSED, revision: 0 }
  // Somebody has removed the entry with another tool.
  if (stored.header.has('KV-Operation')) return { state: NOTHING_PAUSED, revision: stored.seq }
  return { state: parseControls(stored.string()), revision: stored.seq }
}

/**
 * Pauses one part, or lets it go on. True when that changed something. Operators who change different parts at once do not undo each other.
 *
 * @throws LIMIT_REACHED when too many parts are paused already. @throws NOT_ACKNOWLEDGED when others change the entry all the time. @throws as `readControls`.
 */
export async function changeControls(
  jsm: JetStreamManager,
  subjects: Subjects,
  part: ControlPart,
  isPaused: boolean,
): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const { state, revision } = await readControls(jsm, subjects)
    const next = changed(state, part, isPaused)
    if (next === undefined) return false
    try {
      await jsm
        .jetstream()
        .publish(controlsSubject(subjects), formatControls(next), { expect: { lastSubjectSequence: revision } })
      return true
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || error.code !== WRONG_LAST_SEQUENCE) noAnswer(error)
    }
  }
  throw new CarillonError(
    'NOT_ACKNOWLEDGED',
    `what is paused was changed by others ${ATTEMPTS_MAX} times while it was written: try again`,
  )
}

export function namesOf({ pausedTypes, pausedActivities }: ControlState): PausedParts {
  return {
    types: [...pausedTypes].map(decodeToken),
    activities: [...pausedActivities].map((key) => {
      const [type = '', activity = ''] = key.split('.')
      return { type: decodeToken(type), activity: decodeToken(activity) }
    }),
  }
}

function noAnswer(error: unknown): never {
  const reason = redact(error instanceof Error ? error.message : String(error))
  throw new CarillonError('TIMEOUT', `what is paused cannot be read or changed: ${reason}: try again`, { cause: error })
}

/** Undefined when it is so already. */
function changed(state: ControlState, { type, activity }: ControlPart, isPaused: boolean): ControlState | undefined {
  if (activity === undefined) {
    const pausedTypes = withItem(state.pausedTypes, encodeToken(type, 'workflow type'), isPaused)
    return pausedTypes === undefined ? undefined : { ...state, pausedTypes }
  }
  const pausedActivities = withItem(state.pausedActivities, activityKey(type, activity), isPaused)
  return pausedActivities === undefined ? undefined : { ...state, pausedActivities }
}

function withItem<T>(set: ReadonlySet<T>, item: T, isIn: boolean): ReadonlySet<T> | undefined {
  if (set.has(item) === isIn) return undefined
  const next = new Set(set)
  if (!isIn) next.delete(item)
  else if (next.add(item).size > CONTROLS_MAX)
    throw new CarillonError(
      'LIMIT_REACHED',
      `${CONTROLS_MAX} types or activities are paused already: let some of them go on first`,
    )
  return next
}
