// Runs one program to its end, and leaves nothing of it behind.
//
// Invariants:
//   1. Every program leads its own process group, and when it ends, by whatever cause, the rest of the group is killed.
//   2. An abort asks the group to stop (SIGTERM, or the signal given as the reason) and kills it after GRACE_MS.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The root of the repository: the working folder of every program. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

const GRACE_MS = 10_000

/**
 * @typedef {object} ProgramResult
 * @property {boolean} ok
 * @property {number} exitCode 128 + n when it died of signal n, 127 when it could not be started
 * @property {string} output what it wrote, both streams in order; empty unless captured
 */

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, signal?: AbortSignal, capture?: boolean }} [options]
 * @returns {Promise<ProgramResult>}
 */
export function runProgram(command, args, { env = process.env, signal, capture = false } = {}) {
  if (signal?.aborted) return Promise.resolve({ ok: false, exitCode: exitCodeOf(signal.reason), output: '' })
  const { promise, resolve } = withResolvers()
  const stdio = capture ? ['ignore', 'pipe', 'pipe'] : 'inherit'
  const child = spawn(command, args, { cwd: ROOT, env, stdio, detached: true })

  const chunks = []
  child.stdout?.on('data', (chunk) => chunks.push(chunk))
  child.stderr?.on('data', (chunk) => chunks.push(chunk))

  const killNow = () => killGroup(child.pid, 'SIGKILL')
  let grace
  const onAbort = () => {
    killGroup(child.pid, isSignalName(signal.reason) ? signal.reason : 'SIGTERM')
    grace = setTimeout(killNow, GRACE_MS)
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  process.once('exit', killNow)

  const settle = (exitCode, output) => {
    clearTimeout(grace)
    signal?.removeEventListener('abort', onAbort)
    process.removeListener('exit', killNow)
    resolve({ ok: exitCode === 0, exitCode, output })
  }
  child.once('error', (error) => settle(127, `${command}: ${error.message}\n`))
  // What outlives its leader holds the pipes open, so it goes first; 'close' then follows.
  child.once('exit', killNow)
  child.once('close', (code, name) => settle(code ?? exitCodeOf(name), Buffer.concat(chunks).toString()))
  return promise
}

/** The exit code by which a shell tells of a death by signal; 1 for any other reason. */
export function exitCodeOf(reason) {
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }
  return reason in numbers ? 128 + numbers[reason] : 1
}

function isSignalName(reason) {
  return typeof reason === 'string' && reason.startsWith('SIG')
}

function killGroup(pid, name) {
  if (pid === undefined) return
  try {
    process.kill(-pid, name)
  } catch (error) {
    if (error.code !== 'ESRCH' && error.code !== 'EPERM') throw error
  }
}

function withResolvers() {
  let resolve
  const promise = new Promise((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
