/**
 * Where the engines of a node keep their data: the first one in the node's data folder itself, as a node without further engines does, the others in folders
 * within it. Partition p is with engine p mod the number of engines.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Partition } from '@carillon/runtime/protocol'

/** Says for how many engines the folder is arranged; one, when it is missing. */
const ARRANGED_FILE = 'engines.json'
const FOLDER = /^engine-(\d{1,4})$/

/** More would be a mistake: each is a process, and a connection. */
export const ENGINES_MAX = 64

/** Which engine of a node has a partition. */
export function engineOf(partition: Partition, engines: number): number {
  return partition % engines
}

export function engineFolder(dataDir: string, engine: number): string {
  return engine === 0 ? dataDir : join(dataDir, `engine-${engine}`)
}

/** For how many engines the folder is arranged. */
export function arrangedFor(dataDir: string): number {
  try {
    const { engines } = JSON.parse(readFileSync(join(dataDir, ARRANGED_FILE), 'utf8')) as { readonly engines?: unknown }
    return typeof engines === 'number' ? engines : 0
  } catch (error) {
    // A file that cannot be read: arrange anew, which does no harm.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 1 : 0
  }
}

/** Every folder that may hold partitions, those of the engines first. */
export function allFolders(dataDir: string, engines: number): readonly string[] {
  const present = existsSync(dataDir)
    ? readdirSync(dataDir).flatMap((name) => {
        const [, number] = FOLDER.exec(name) ?? []
        return number === undefined ? [] : [Number(number)]
      })
    : []
  const count = Math.max(engines, ...present.map((engine) => engine + 1))
  return Array.from({ length: count }, (_, engine) => engineFolder(dataDir, engine)).filter(
    (folder, engine) => engine < engines || existsSync(folder),
  )
}

/** Everything lies where so many engines look for it: remembers that, and removes the folders of others. */
export function noteArranged(dataDir: string, engines: number): void {
  const file = join(dataDir, ARRANGED_FILE)
  writeFileSync(`${file}.new`, `${JSON.stringify({ engines })}\n`)
  renameSync(`${file}.new`, file)
  for (const folder of allFolders(dataDir, engines).slice(engines)) rmSync(folder, { recursive: true })
}
