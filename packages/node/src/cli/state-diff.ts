/** What changed between two states, for people and as JSON. */
import diff from 'microdiff'

import { toJson, toPlain } from './output.ts'

/** One place in a state. `path` is of names and indexes, joined with dots; empty for the state as a whole. */
export interface StateChange {
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

/** The changes in the order of the places, by the states as JSON shows them. */
export function diffStates(before: unknown, after: unknown): StateChange[] {
  const [from, to] = [toPlain(before), toPlain(after)]
  if (!isTree(from) || !isTree(to) || Array.isArray(from) !== Array.isArray(to))
    return toJson(from) === toJson(to) ? [] : [change('', from, to)]
  return diff(from, to, { cyclesFix: false }).map((one) =>
    change(
      one.path.join('.'),
      'oldValue' in one ? one.oldValue : undefined,
      one.type === 'REMOVE' ? undefined : one.value,
    ),
  )
}

/** `+ path: value`, `- path: value`, `~ path: before → after`. */
export function formatChange({ path, ...values }: StateChange): string {
  const name = path === '' ? 'state' : path
  if (!('before' in values)) return `+ ${name}: ${toJson(values.after)}`
  if (!('after' in values)) return `- ${name}: ${toJson(values.before)}`
  return `~ ${name}: ${toJson(values.before)} → ${toJson(values.after)}`
}

function change(path: string, before: unknown, after: unknown): StateChange {
  return { path, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) }
}

function isTree(value: unknown): value is Record<string, unknown> | unknown[] {
  return typeof value === 'object' && value !== null
}
