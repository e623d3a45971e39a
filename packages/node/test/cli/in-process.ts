/** The `carillon` command in this process: starting another one takes longer than what most commands do. One at a time. */
import { vi } from 'vitest'

import { exitCodeOf } from '../../src/cli/exit-codes.ts'
import { printError } from '../../src/cli/output.ts'
import { createProgram } from '../../src/cli/program.ts'
import type { CliEnd } from './cli-process.ts'

/** Runs a command to its end. */
export async function runInProcess(args: readonly string[]): Promise<CliEnd> {
  const written = { stdout: '', stderr: '' }
  const catchAll = (name: 'stdout' | 'stderr') =>
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += String(text)
      return true
    })
  const spies = [catchAll('stdout'), catchAll('stderr')]
  try {
    await createProgram().parseAsync(args, { from: 'user' })
    return { ...written, code: Number(process.exitCode ?? 0) }
  } catch (error) {
    printError(error, false)
    return { ...written, code: exitCodeOf(error) }
  } finally {
    for (const spy of spies) spy.mockRestore()
    process.exitCode = undefined
  }
}
