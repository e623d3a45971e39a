/** What processes and folders take, as the system says. */
import { readFileSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

const BLOCK_BYTES = 512

/** Resident memory of a process and of those that it has started; not a number where there is no /proc. */
export function residentBytes(pid: number): number {
  try {
    const own = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .filter((word) => word !== '')
    return children.reduce((sum, child) => sum + residentBytes(Number(child)), own)
  } catch {
    return Number.NaN
  }
}

/** CPU time of a process in milliseconds; not a number where there is no /proc. */
export function cpuMsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    // utime and stime, in ticks of 10 ms.
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return Number.NaN
  }
}

/** What the files in a folder take on disk. A file that goes away meanwhile takes nothing. */
export async function bytesOfFolder(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true })
  const sizes = entries.map((name) => stat(join(folder, name)).catch(() => undefined))
  const files = (await Promise.all(sizes)).filter((found) => found?.isFile() === true)
  return files.reduce((sum, file) => sum + (file?.blocks ?? 0) * BLOCK_BYTES, 0)
}
