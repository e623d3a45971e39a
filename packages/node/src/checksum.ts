/** Rows as they lie in LMDB: the value, then its CRC-32. The sum starts from the table and the key, so that a row in the wrong place fails too. */
import { crc32 } from 'node:zlib'

/** Bytes that a row is longer than its value. */
export const CHECKSUM_BYTES = 4

/** The CRC-32 of any bytes followed by their own CRC-32, little-endian, whatever it started from. Source: ISO-HDLC, "residue". */
const RESIDUE = 0x2144df1c

/** What the checksums of a table start from. */
export function tableSeed(table: string): number {
  return crc32(table)
}

/** Writes value and checksum into `target`, which is exactly as long as both. */
export function sealRow(target: Buffer, seed: number, key: string, value: Uint8Array): void {
  target.set(value, 0)
  target.writeUInt32LE(crc32(value, crc32(key, seed)), value.length)
}

/** The value of a stored row as a view of `row`, or undefined when the bytes, the key or the table are not those that were sealed. */
export function openRow(row: Uint8Array, seed: number, key: string): Uint8Array | undefined {
  if (crc32(row, crc32(key, seed)) !== RESIDUE) return undefined
  // Not `row.subarray`: of a Buffer it would be a Buffer, and so would every blob that is decoded from it.
  return new Uint8Array(row.buffer, row.byteOffset, row.length - CHECKSUM_BYTES)
}
