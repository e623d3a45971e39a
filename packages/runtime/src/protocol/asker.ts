/** The reply address of an update that an instance sent: `instance:<type token>.<id token>/<effect>`. */
import { type InstanceKey, parseKey } from './subjects.ts'

export interface Asker {
  readonly key: InstanceKey
  /** Its effect that the answer is for. */
  readonly effect: string
}

const PREFIX = 'instance:'
const ADDRESS = /^instance:([A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+)\/(\d{1,15}\.\d{1,7})$/

export function formatAsker({ key, effect }: Asker): string {
  return `${PREFIX}${key}/${effect}`
}

/** Undefined when the address is none of an instance. */
export function parseAsker(address: string): Asker | undefined {
  if (!address.startsWith(PREFIX)) return undefined
  const [, key, effect] = ADDRESS.exec(address) ?? []
  if (key === undefined || effect === undefined || !isKey(key)) return undefined
  return { key, effect }
}

function isKey(key: string): key is InstanceKey {
  try {
    parseKey(key as InstanceKey)
    return true
  } catch {
    return false
  }
}
