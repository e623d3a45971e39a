/** Compression as a codec: zlib, for payloads that are large enough to gain by it. */
import { constants, deflateSync, inflateSync } from 'node:zlib'

import { CarillonError, codeOf } from '../errors.ts'
import type { PayloadCodec } from '../protocol/index.ts'

export interface CompressionOptions {
  /** Smaller payloads are left as they are, in bytes; default 1024: below, it costs more time than it saves room. */
  readonly aboveBytes?: number
  /** From 1, the fastest, to 9, the smallest; default 6. */
  readonly level?: number
}

/**
 * Makes the codec `zlib` (RFC 1950). What does not get smaller is left as it is; what would inflate to more than its place takes is refused.
 *
 * @throws CONFIG_INVALID when an option is out of its range.
 */
export function compression({ aboveBytes = 1024, level = 6 }: CompressionOptions = {}): PayloadCodec {
  if (!(aboveBytes >= 0)) throw new CarillonError('CONFIG_INVALID', `aboveBytes is ${aboveBytes}: give bytes from 0`)
  if (!Number.isInteger(level) || level < 1 || level > constants.Z_MAX_LEVEL)
    throw new CarillonError('CONFIG_INVALID', `the compression level is ${level}: give a whole number from 1 to 9`)
  return {
    name: 'zlib',
    encode(bytes) {
      if (bytes.length < aboveBytes) return bytes
      const smaller = deflateSync(bytes, { level })
      return smaller.length < bytes.length ? smaller : bytes
    },
    decode: (bytes, { bytesMax }) => inflate(bytes, bytesMax),
  }
}

function inflate(bytes: Uint8Array, bytesMax: number): Uint8Array {
  try {
    return inflateSync(bytes, { maxOutputLength: bytesMax })
  } catch (error) {
    const message =
      codeOf(error) === 'ERR_BUFFER_TOO_LARGE'
        ? `${bytes.length} bytes of zlib inflate to over ${bytesMax}, more than there may be: it was not made by this codec`
        : `${bytes.length} bytes cannot be inflated: ${String(error)}`
    throw new CarillonError('INVALID_PAYLOAD', message, { cause: error })
  }
}
