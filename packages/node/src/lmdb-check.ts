/** Whether an LMDB directory can be opened at all, found out in a process of its own: damaged pages end the process that reads them. */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { CarillonError } from '@carillon/runtime'

import type { ProbeReport, ProbeRequest } from './lmdb-probe.ts'

/** Milliseconds for a check of a sample, and of every row. Longer means a stuck disk: that is said, and nothing is thrown away. */
const CHECK_MS_MAX = { sample: 60_000, all: 3_600_000 } as const

/** Signals that damaged pages raise. Any other end of the child says nothing about the data. */
const DAMAGE_SIGNALS = new Set<string>(['SIGBUS', 'SIGSEGV', 'SIGABRT', 'SIGILL', 'SIGFPE', 'SIGTRAP'])
const OUTPUT_CHARS_MAX = 16 * 1024

/**
 * Checks a directory that holds a data file.
 *
 * @throws STORAGE_FAILED when the check itself could not be done.
 */
export async function checkDirectory(request: ProbeRequest): Promise<ProbeReport> {
  const end = await runProbe(request)
  if (end.signal !== null && DAMAGE_SIGNALS.has(end.signal)) {
    return { verdict: 'damaged', reason: `reading it ended in ${end.signal}` }
  }
  const line = end.output.split('\n').findLast((text) => text.startsWith('{'))
  if (end.code === 0 && line !== undefined) return JSON.parse(line) as ProbeReport
  const how = end.timedOut
    ? `took over ${CHECK_MS_MAX[request.rows]} ms`
    : `ended with ${end.signal ?? `code ${end.code}`}`
  throw new CarillonError(
    'STORAGE_FAILED',
    `the check of the data directory ${request.path} ${how}: look at the disk and its rights. ${end.errors.trim().slice(-500)}`,
  )
}

interface ProbeEnd {
  readonly code: number | null
  readonly signal: string | null
  readonly timedOut: boolean
  readonly output: string
  readonly errors: string
}

function runProbe(request: ProbeRequest): Promise<ProbeEnd> {
  const child = spawn(process.execPath, [...probeCommand(), JSON.stringify(request)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-OUTPUT_CHARS_MAX)))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-OUTPUT_CHARS_MAX)))
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    child.kill('SIGKILL')
  }, CHECK_MS_MAX[request.rows])
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(
        new CarillonError('STORAGE_FAILED', `the check of ${request.path} could not be started: ${error.message}`, {
          cause: error,
        }),
      )
    })
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, timedOut, output, errors })
    })
  })
}

/** The probe lies beside this file, compiled as this one is; from source it needs the loader that this process has, too. */
function probeCommand(): string[] {
  if (!import.meta.url.endsWith('.ts')) return [fileURLToPath(new URL('./lmdb-probe.js', import.meta.url))]
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  return ['--import', loader, fileURLToPath(new URL('./lmdb-probe.ts', import.meta.url))]
}
