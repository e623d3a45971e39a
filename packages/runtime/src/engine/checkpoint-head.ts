/**
 * The head of a remote snapshot: what a checkpoint covers, and the segments that it consists of, in order. It alone decides what counts: parts that no
 * head names are nobody's.
 */
import { CarillonError } from '../errors.ts'
import { decodeValue, encodeValue, type Partition } from '../protocol/index.ts'

/** Of the head and of the segments. */
const CHECKPOINT_FORMAT = 1

export interface Segment {
  readonly name: string
  readonly parts: number
  readonly bytes: number
  /** Instances that it replaces; in the first segment, which has all, those that there are. */
  readonly instances: number
}

export interface Checkpoint {
  readonly partition: Partition
  /** The identity of the journal whose fold this is. */
  readonly identity: string
  /** The rows are those of a store that had applied the journal up to here. */
  readonly coveredSeq: number
  readonly atMs: number
  /** The node that made it, for people. */
  readonly writer: string
  /** The first one holds every row; each later one replaces whole instances. */
  readonly segments: readonly Segment[]
}

type Flat = [
  format: number,
  partition: number,
  identity: string,
  coveredSeq: number,
  atMs: number,
  writer: string,
  segments: [name: string, parts: number, bytes: number, instances: number][],
]

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const { partition, identity, coveredSeq, atMs, writer, segments } = checkpoint
  const flat: Flat = [
    CHECKPOINT_FORMAT,
    partition,
    identity,
    coveredSeq,
    atMs,
    writer,
    segments.map(({ name, parts, bytes, instances }) => [name, parts, bytes, instances]),
  ]
  return encodeValue(flat)
}

/** @throws SNAPSHOT_DAMAGED when it is none, of another partition, or of a format that this release does not know. */
export function decodeCheckpoint(bytes: Uint8Array, partition: Partition): Checkpoint {
  const flat = tryDecode(bytes)
  const refuse = (what: string): never => {
    throw new CarillonError('SNAPSHOT_DAMAGED', `the checkpoint of partition ${partition} ${what}`)
  }
  if (!Array.isArray(flat)) return refuse('cannot be read: it is replaced by the next one of a node that has its data')
  const [format, number, identity, coveredSeq, atMs, writer, segments] = flat as Flat
  if (format !== CHECKPOINT_FORMAT)
    return refuse(
      `has format ${String(format)}, this release knows ${CHECKPOINT_FORMAT}: use the release that the other nodes run`,
    )
  if (number !== partition) return refuse(`says that it is of partition ${String(number)}`)
  if (
    typeof identity !== 'string' ||
    typeof writer !== 'string' ||
    !isWhole(coveredSeq) ||
    !isWhole(atMs) ||
    !Array.isArray(segments)
  )
    return refuse('is malformed')
  return {
    partition,
    identity,
    coveredSeq,
    atMs,
    writer,
    segments: segments.map(([name, parts, bytes, instances]) => ({ name, parts, bytes, instances })),
  }
}

function tryDecode(bytes: Uint8Array): unknown {
  try {
    return decodeValue(bytes)
  } catch {
    return undefined
  }
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
