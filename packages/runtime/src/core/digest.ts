/** The digest of an instance: equal on every node that has applied the same inputs. */
import { createHash } from 'node:crypto'

import type { InstanceData } from './instance-data.ts'
import { canonicalData } from './record.ts'

/** SHA-256 of the canonical data, cut to 16 bytes, in hex. */
export function digestOf(data: InstanceData): string {
  return createHash('sha256').update(canonicalData(data)).digest('hex').slice(0, 32)
}
