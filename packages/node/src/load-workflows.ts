/** Loads workflow modules from files: .ts as it stands, .js, .mjs, and whatever else Node imports. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

import {
  type ActivityImplementations,
  CarillonError,
  codeOf,
  ERROR_CODES,
  type ErrorCode,
  type Implementation,
  isActivityImplementations,
  isImplementation,
  isInterceptors,
  type Interceptors,
  joinInterceptors,
} from '@carillon/runtime'

import type { Workflows } from './node.ts'

const TYPESCRIPT = /\.[cm]?tsx?$/
/** Exports may hold lists, and a CommonJS module stands in the default export as a whole. */
const NESTING_MAX = 3

/**
 * Imports the files and collects every implementation, and every set of activities and of interceptors that they export, by name, as the default, or in a list.
 * Paths are relative to the working directory. What is exported twice counts once.
 *
 * @throws CONFIG_INVALID when a file does not exist. @throws INVALID_DEFINITION when one does not compile, throws, or when no implementation is found.
 */
export async function loadWorkflows(files: readonly string[]): Promise<Workflows> {
  const loaded = await load(files)
  if (loaded.implementations.length > 0) return loaded
  throw new CarillonError(
    'INVALID_DEFINITION',
    `no workflow was found in ${files.join(', ')}: export what implement(…) returns`,
  )
}

/** As `loadWorkflows`, for a worker: no workflow needs to be there. @throws INVALID_DEFINITION also when there are no activities. */
export async function loadActivities(files: readonly string[]): Promise<Omit<Workflows, 'implementations'>> {
  const { activities, interceptors } = await load(files)
  if (activities.length > 0) return { activities, interceptors }
  throw new CarillonError(
    'INVALID_DEFINITION',
    `no activities were found in ${files.join(', ')}: export what implementActivities(…) returns`,
  )
}

async function load(files: readonly string[]): Promise<Workflows> {
  if (files.length === 0)
    throw new CarillonError('CONFIG_INVALID', 'no workflow file is given: pass one, for example workflow.ts')
  const modules = await importModules(files, 'workflow')
  const implementations = new Set<Implementation>()
  const activities = new Set<ActivityImplementations>()
  const interceptors = new Set<Interceptors>()
  for (const module of modules) {
    for (const value of exportsOf(module)) {
      if (isImplementation(value)) implementations.add(value)
      else if (isActivityImplementations(value)) activities.add(value)
      else if (isInterceptors(value)) interceptors.add(value)
    }
  }
  return {
    implementations: [...implementations],
    activities: [...activities],
    interceptors: joinInterceptors([...interceptors]),
  }
}

/** Imports files that an author wrote, as they stand. Throws as `loadWorkflows`; `what` names the files. */
export async function importModules(files: readonly string[], what: string): Promise<readonly object[]> {
  const paths = files.map((file) => findFile(file, what))
  if (paths.some((path) => TYPESCRIPT.test(path))) await registerTypeScript()
  const modules: object[] = []
  for (const [i, path] of paths.entries()) modules.push(await importFile(path, files[i] ?? path))
  return modules
}

function findFile(file: string, what: string): string {
  const path = resolve(file)
  if (existsSync(path)) return path
  throw new CarillonError(
    'CONFIG_INVALID',
    `the ${what} file ${path} does not exist: check the path, which is relative to the working directory`,
  )
}

/**
 * By the loader of tsx as a whole, not by its ESM part alone: a plain .ts file in a folder whose package.json does not say `"type": "module"` is
 * CommonJS to it. Importing it again, or under `node --import tsx`, changes nothing.
 */
async function registerTypeScript(): Promise<void> {
  await import(import.meta.resolve('tsx'))
}

async function importFile(path: string, given: string): Promise<object> {
  try {
    return (await import(pathToFileURL(path).href)) as object
  } catch (error) {
    throw toLoadError(error, given)
  }
}

function toLoadError(error: unknown, file: string): CarillonError {
  const message = error instanceof Error ? error.message : String(error)
  const name = error instanceof Error ? error.name : ''
  const code = codeOf(error)
  if (code !== undefined && code in ERROR_CODES)
    return new CarillonError(code as ErrorCode, `${file}: ${message}`, { cause: error })
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') {
    return new CarillonError('INVALID_DEFINITION', `${file} imports what is not there: ${message}`, { cause: error })
  }
  // Errors of syntax already say the file and the line.
  const what =
    name === 'TransformError' || name === 'SyntaxError'
      ? 'does not compile'
      : `threw while it was loaded${placeOf(error)}`
  return new CarillonError('INVALID_DEFINITION', `${file} ${what}: ${message}`, { cause: error })
}

/** The file and line in which an error was thrown, if that is code of the author. */
function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const place = /\(?((?:file:\/\/)?\/[^\s()]+:\d+):\d+\)?$/m.exec(stack)?.[1]
  return place === undefined || place.includes('/node_modules/') ? '' : ` (at ${place.replace('file://', '')})`
}

/** What a module exports: by name, as the default, in lists. The default of a CommonJS module is all of its exports. */
export function* exportsOf(module: object, depth = NESTING_MAX): Iterable<unknown> {
  for (const [name, value] of Object.entries(module)) {
    yield value
    const isHolder = Array.isArray(value) || (name === 'default' && typeof value === 'object' && value !== null)
    if (isHolder && depth > 0 && !isImplementation(value) && !isActivityImplementations(value))
      yield* exportsOf(value as object, depth - 1)
  }
}
