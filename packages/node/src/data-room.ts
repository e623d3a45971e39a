/** Whether a folder can be written, and has room: LMDB does not survive to say so when its files cannot grow. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { CarillonError } from '@carillon/runtime'

/** The first files of a node and its first commits fit in. */
const ROOM_BYTES = 1024 * 1024

/**
 * Makes the folder and checks that a mebibyte can be written in it.
 *
 * @throws STORAGE_FAILED when not.
 */
export function requireRoom(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
    writeAndRemove(folder)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `the data directory ${folder} cannot be written: ${reason}: check its rights, free space on the disk, or give another one`
    throw new CarillonError('STORAGE_FAILED', message, { cause: error })
  }
}

/** Checks a folder, or, while it does not exist, the one in which it will be made. It makes nothing. Throws what the system says. */
export function probeRoom(path: string): { readonly folder: string } {
  let folder = path
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder)
  writeAndRemove(folder)
  return { folder }
}

function writeAndRemove(folder: string): void {
  const file = join(folder, `.carillon-room-${process.pid}`)
  try {
    writeFileSync(file, Buffer.alloc(ROOM_BYTES))
  } finally {
    rmSync(file, { force: true })
  }
}
