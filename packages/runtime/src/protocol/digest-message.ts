/**
 * What the owner of a partition tells of its instances, so that those who follow it can see whether they have come to the same: digests of some, each as
 * of one input. Core NATS, nothing durable. A message that this release cannot read is none.
 */
import { decodeValue, encodeValue } from './codec.ts'
import type { InstanceKey } from './subjects.ts'

/** The digest of an instance right behind one of its inputs. */
export interface DigestSample {
  /** The input. */
  readonly seq: number
  readonly key: InstanceKey
  readonly digest: string
  /** Of its state: builds that migrate differently are not compared. */
  readonly stateVersion: number
}

export interface DigestMessage {
  readonly node: string
  readonly build: string
  readonly samples: readonly DigestSample[]
}

/** Samples of one message, and bytes of it. */
export const DIGEST_SAMPLES_MAX = 256
const DIGEST_BYTES_MAX = 512 * 1024
const DIGEST_VERSION = 1
const TEXT_CHARS_MAX = 1300

/** Which inputs are sampled: one of 256, the same for every replica. An integer test, because it is made for every turn. */
export function isSampled(seq: number): boolean {
  return Math.imul(seq, SPREAD) >>> 24 === 0
}

/** Of those, one of 16: for instances whose digest takes long. */
export function isRarelySampled(seq: number): boolean {
  return Math.imul(seq, SPREAD) >>> 20 === 0
}

/** Knuth's multiplicative hash: the upper bits of the product depend on all of the factor. */
const SPREAD = 0x9e3779b1

export function encodeDigests({ node, build, samples }: DigestMessage): Uint8Array<ArrayBuffer> {
  const rows = samples.map(({ seq, key, digest, stateVersion }) => [seq, key, digest, stateVersion])
  return encodeValue({ version: DIGEST_VERSION, node, build, samples: rows })
}

/** Undefined for what is no such message. */
export function parseDigests(bytes: Uint8Array): DigestMessage | undefined {
  if (bytes.length > DIGEST_BYTES_MAX) return undefined
  let value: unknown
  try {
    value = decodeValue(bytes)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { version, node, build, samples } = value as Readonly<Record<string, unknown>>
  if (version !== DIGEST_VERSION || !isText(node) || !isText(build)) return undefined
  if (!Array.isArray(samples) || samples.length > DIGEST_SAMPLES_MAX) return undefined
  const parsed = (samples as unknown[]).map(parseSample)
  return parsed.includes(undefined) ? undefined : { node, build, samples: parsed as DigestSample[] }
}

function parseSample(row: unknown): DigestSample | undefined {
  if (!Array.isArray(row)) return undefined
  const [seq, key, digest, stateVersion] = row as unknown[]
  const isValid = isCount(seq) && isText(key) && key.includes('.') && isText(digest) && isCount(stateVersion)
  return isValid ? { seq, key: key as InstanceKey, digest, stateVersion } : undefined
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_CHARS_MAX
}
