/**
 * Watches the sources around workflow files.
 *
 * Owns: one watcher a folder, of the folders around the files: from the nearest package.json up to the working directory at most, down to the
 * last folder, without node_modules, build output and hidden folders.
 * Does not own: what a change leads to.
 */
import { existsSync, type FSWatcher, readdirSync, watch } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'

import { note } from './output.ts'

const SOURCES = /\.(?:[cm]?[jt]sx?|json)$/
const SKIPPED = new Set(['node_modules', 'dist', 'build', 'coverage'])
/** Each watcher is a resource of the system with a limit of its own; a tree with more folders is no workflow's. */
const FOLDERS_MAX = 500
/** Editors and compilers write several files, each several times. */
const SETTLE_MS = 100

export class SourceWatch {
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #changed = new Set<string>()
  readonly #folders: readonly string[]
  #timer: NodeJS.Timeout | undefined
  #wake: (() => void) | undefined

  constructor(files: readonly string[]) {
    this.#folders = [...new Set(files.map((file) => rootOf(resolve(file))))]
    for (const folder of this.#folders) this.#watchTree(folder)
    if (this.#watchers.size >= FOLDERS_MAX)
      note(
        `only ${FOLDERS_MAX} folders are watched: put the workflow into a package of its own to have all of it watched`,
      )
  }

  /** Resolves with the files that have changed since the last call, once nothing has changed for a moment. */
  async next(): Promise<readonly string[]> {
    while (this.#changed.size === 0 || this.#timer !== undefined)
      await new Promise<void>((resolve) => (this.#wake = resolve))
    const files = [...this.#changed]
    this.#changed.clear()
    return files
  }

  close(): void {
    clearTimeout(this.#timer)
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
  }

  #watchTree(folder: string): void {
    if (this.#watchers.has(folder) || this.#watchers.size >= FOLDERS_MAX) return
    try {
      const watcher = watch(folder, (_, name) => this.#onEvent(folder, name))
      watcher.on('error', () => this.#forget(folder))
      this.#watchers.set(folder, watcher)
      for (const entry of readdirSync(folder, { withFileTypes: true }))
        if (entry.isDirectory() && isWatched(entry.name)) this.#watchTree(join(folder, entry.name))
    } catch {
      // A folder that is gone by now, or may not be read: its parent reports it when it is back.
      this.#forget(folder)
    }
  }

  #onEvent(folder: string, name: string | null): void {
    if (name === null) return
    if (SOURCES.test(name)) return this.#onChange(join(folder, name))
    if (isWatched(name) && existsSync(join(folder, name, '.'))) this.#watchTree(join(folder, name))
  }

  #onChange(file: string): void {
    this.#changed.add(relative('', file))
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#wake?.()
    }, SETTLE_MS)
  }

  #forget(folder: string): void {
    this.#watchers.get(folder)?.close()
    this.#watchers.delete(folder)
  }
}

function isWatched(name: string): boolean {
  return !name.startsWith('.') && !SKIPPED.has(name)
}

/** The folder of the package that a file is in, but none above the working directory if the file is within that. */
function rootOf(file: string): string {
  const cwd = process.cwd()
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder
    if (folder === cwd) return dirname(file)
    if (folder === dirname(folder)) return dirname(file)
    if (!folder.startsWith(cwd + sep) && file.startsWith(cwd + sep)) return dirname(file)
  }
}
