// The test task: the static checks, then vitest, then one line that counts everything.
// A check or a set-up step that failed counts as one failed test, and so does a run without any test.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './bootstrap.mjs'
import { check } from './check.mjs'
import { ROOT, runProgram } from './program.mjs'

/**
 * @param {{ args: string[], env: NodeJS.ProcessEnv, signal: AbortSignal, isReady: boolean }} options
 * `args` go to vitest, but for `--no-check`; without `isReady` nothing runs and the set-up counts as failed
 * @returns {Promise<number>} the exit code
 */
export async function test({ args, env, signal, isReady }) {
  const summary = { passed: 0, failed: [], skipped: [] }
  if (isReady) {
    const failed = args.includes('--no-check') ? await buildOnly(signal) : await check({ env, signal })
    summary.failed.push(...failed.map((name) => `check: ${name}`))
    const ran = await runVitest({ args: args.filter((arg) => arg !== '--no-check'), env, signal })
    summary.passed = ran.passed
    summary.failed.push(...ran.failed)
    summary.skipped = ran.skipped
  } else {
    summary.failed.push('set-up')
  }
  if (signal.aborted) summary.failed.push(`stopped: ${signal.reason}`)
  report(summary)
  return summary.failed.length === 0 ? 0 : 1
}

async function buildOnly(signal) {
  return (await build(signal)) ? [] : ['build']
}

async function runVitest({ args, env, signal }) {
  const folder = await mkdtemp(join(tmpdir(), 'carillon-test-'))
  const file = join(folder, 'summary.json')
  try {
    const reporters = ['--reporter=default', `--reporter=${join(ROOT, 'scripts', 'summary-reporter.mjs')}`]
    const { exitCode } = await runProgram(
      join(ROOT, 'node_modules', '.bin', 'vitest'),
      ['run', ...reporters, ...args],
      {
        env: { ...withoutColors(env), CARILLON_TEST_SUMMARY: file },
        signal,
      },
    )
    return judge(await readSummary(file), exitCode)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Vitest colors its output even in a pipe; here only a terminal or an explicit wish gets colors. */
function withoutColors(env) {
  return process.stdout.isTTY || env['FORCE_COLOR'] !== undefined ? env : { ...env, NO_COLOR: '1' }
}

/** Vitest's exit code has the last word: what it calls a failure never ends as a pass here. */
function judge(summary, exitCode) {
  const ran = summary.passed + summary.failed.length
  if (ran === 0) return { ...summary, failed: [`no test ran (vitest ended with ${exitCode})`] }
  if (exitCode !== 0 && summary.failed.length === 0) return { ...summary, failed: [`vitest ended with ${exitCode}`] }
  return summary
}

async function readSummary(file) {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  return text === undefined ? { passed: 0, failed: [], skipped: [] } : JSON.parse(text)
}

function report({ passed, failed, skipped }) {
  for (const name of failed) console.log(`failed: ${name}`)
  for (const { name, reason } of skipped) console.log(`skipped: ${name} (${reason ?? 'no reason given'})`)
  console.log(`${passed} passed, ${failed.length} failed, ${skipped.length} skipped`)
}
