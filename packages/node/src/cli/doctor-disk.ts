/** The check of `carillon doctor` of the data folder: is there room, and may this user write there. */
import { statfsSync } from 'node:fs'
import { resolve } from 'node:path'

import { CarillonError } from '@carillon/runtime'

import { probeRoom } from '../data-room.ts'
import { formatBytes } from './doctor-server.ts'
import { fail, type Finding, ok, warn } from './finding.ts'

const FREE_BYTES_MIN = 1e9

/** Looks at the folder, or, while it does not exist, at the one that it will be made in. */
export function checkDisk(dataDir: string): Finding {
  const path = resolve(dataDir)
  try {
    const { folder } = probeRoom(path)
    const { bavail, bsize } = statfsSync(folder)
    const free = bavail * bsize
    const detail = `${path}${folder === path ? '' : ' (not there yet)'}, ${formatBytes(free)} free`
    if (free >= FREE_BYTES_MIN) return ok('disk', detail)
    return warn('disk', detail, 'make room: a full disk stops the node')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `${path} cannot be written: ${reason}: check its rights and the disk, or give another --data-dir`
    return fail('disk', new CarillonError('STORAGE_FAILED', message), 'STORAGE_FAILED')
  }
}
