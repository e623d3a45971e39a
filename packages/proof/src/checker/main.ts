/**
 * The checker, a process of its own.
 *
 * Under the supervisor it obeys commands: `open` with `CheckerOptions`, `owed`, `calm`, `check`. Alone, `node checker/main.js <folder>` checks the
 * histories that a run has kept, as a whole.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { serveCommands } from '../processes/serve-commands.ts'
import { Checker, type CheckerOptions } from './checker.ts'

const [folder] = process.argv.slice(2)
if (folder !== undefined) process.exitCode = checkFolder(folder)
else serve()

function serve(): void {
  let checker: Checker | undefined
  serveCommands(async ({ name, value }) => {
    if (name === 'open') return void (checker = new Checker(value as CheckerOptions))
    if (checker === undefined) throw new Error(`${name} came before open`)
    if (name === 'owed') return checker.owed(value as number)
    if (name === 'calm') return checker.beginCalm()
    if (name === 'check') return checker.check(value as number)
    throw new Error(`the checker knows no command ${name}`)
  })
}

function checkFolder(path: string): number {
  const options = JSON.parse(readFileSync(join(path, 'checker.json'), 'utf8')) as Omit<CheckerOptions, 'folder'>
  const report = new Checker({ ...options, folder: path }).check(Number.MAX_SAFE_INTEGER)
  console.log(JSON.stringify(report, undefined, 2))
  return report.findings.length === 0 ? 0 : 1
}
