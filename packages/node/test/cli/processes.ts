/** Which processes belong to a test: the ones that work in its folder, or name it in their command line. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The ids of the live processes of a folder. */
export function processesIn(folder: string): readonly number[] {
  if (!existsSync('/proc/self/cwd'))
    return listed()
      .filter(({ command }) => command.includes(folder))
      .map(({ pid }) => pid)
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  return pids.filter((pid) => pid !== process.pid && (folderOf(pid) === folder || commandOf(pid).includes(folder)))
}

/** The command line of a process; empty when it is gone. */
export function commandOf(pid: number): string {
  if (!existsSync('/proc/self/cwd')) return listed().find((other) => other.pid === pid)?.command ?? ''
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}

function folderOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    // Gone, or a zombie.
    return ''
  }
}

function listed(): readonly { readonly pid: number; readonly command: string }[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,command='], { encoding: 'utf8' }).split('\n')
  return lines.map((line) => ({ pid: Number.parseInt(line, 10), command: line.replace(/^ *\d+ /, '') }))
}
