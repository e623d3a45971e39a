/** The digest of an instance: equal on every node that has applied the same inputs. */
import { createHash } from 'node:crypto'

import type { InstanceData } from './instance-data.ts'
import { canonicalBrief, canonicalData } from './record.ts'

/** SHA-256 of the canonical data, cut to 16 bytes, in hex. */
export function digestOf(data: InstanceData): string {
  return hash(canonicalData(data))
}

/** The same over all but the known ids, of which it takes the number: for looking often. */
export function briefDigestOf(data: InstanceData): string {
  return hash(canonicalBrief(data))
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32)
}
