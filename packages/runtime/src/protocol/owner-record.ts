/**
 * Who owns a partition: one KV entry each (`Subjects.owner`), JSON, changed by compare-and-set on its revision only.
 *
 * The epoch rises by one with each change, so there is at most one owner an epoch, and of two records the later one is known without their revisions.
 */
import { encodeToken } from './ids.ts'

export interface OwnerRecord {
  readonly node: string
  readonly incarnation: string
  /** From 1. */
  readonly epoch: number
}

export function formatOwner({ node, incarnation, epoch }: OwnerRecord): string {
  return JSON.stringify({ node, incarnation, epoch })
}

/** Undefined for what is no record: the partition counts as unowned then, and the next owner writes a whole one. */
export function parseOwner(text: string): OwnerRecord | undefined {
  try {
    const { node, incarnation, epoch } = (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>>
    if (typeof node !== 'string' || typeof incarnation !== 'string' || incarnation.length > 200) return undefined
    encodeToken(node, 'node name')
    return Number.isSafeInteger(epoch) && (epoch as number) >= 1
      ? { node, incarnation, epoch: epoch as number }
      : undefined
  } catch {
    return undefined
  }
}
