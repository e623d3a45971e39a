/** Starts the guard of this process in a thread of its own. It keeps nothing alive; where it fails, the process does. */
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { pathToFileURL } from 'node:url'

import type { GuardData } from './guard-words.ts'
import { programOf } from './program-of.ts'

/** It holds a few numbers. */
const HEAP_MB = 32

export function startGuard(data: GuardData): void {
  const program = programOf(import.meta.url, 'guard')
  const options: WorkerOptions = { workerData: data, resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } }
  const thread = program.endsWith('.ts')
    ? new Worker(fromSource(program), { ...options, eval: true })
    : new Worker(program, options)
  thread.on('error', (error) => {
    throw error
  })
  thread.unref()
}

/** A thread does not have the loaders of its process. */
function fromSource(program: string): string {
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'))
  const file = JSON.stringify(pathToFileURL(program).href)
  return `import(${loader}).then(({ register }) => { register(); return import(${file}) })`
}
