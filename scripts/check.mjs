// The static checks, each a named step. All of them run, so that one failure does not hide the next.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT, runProgram } from './program.mjs'
import { step } from './step.mjs'

/**
 * @param {{ env: NodeJS.ProcessEnv, signal: AbortSignal }} options
 * @returns {Promise<string[]>} the names of the steps that failed
 */
export async function check({ env, signal }) {
  const tool = (name, ...args) =>
    runProgram(join(ROOT, 'node_modules', '.bin', name), args, { env, signal, capture: true })
  const packages = await publicPackages()
  const steps = [
    ['types', () => tool('tsc', '-b', '.', 'scripts', 'docker')],
    ['lint', () => tool('oxlint')],
    ['format', () => tool('oxfmt', '--check', '.')],
    ['dead code', () => tool('knip', '--no-config-hints')],
    ...packages.flatMap((name) => [
      [`publint ${name}`, () => tool('publint', '--strict', '--pack', 'npm', join('packages', name))],
      [
        `attw ${name}`,
        () => tool('attw', '--profile', 'esm-only', '--no-definitely-typed', '--pack', join('packages', name)),
      ],
    ]),
  ]
  const failed = []
  for (const [name, body] of steps) {
    if (signal.aborted) break
    if (!(await step(name, body))) failed.push(name)
  }
  return failed
}

async function publicPackages() {
  const names = await readdir(join(ROOT, 'packages'))
  const isPublic = await Promise.all(
    names.map(async (name) => {
      const manifest = await readFile(join(ROOT, 'packages', name, 'package.json'), 'utf8').catch(() => undefined)
      return manifest !== undefined && JSON.parse(manifest).private !== true
    }),
  )
  return names.filter((_, i) => isPublic[i])
}
