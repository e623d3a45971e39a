import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { runProgram } from './program.mjs'

let work: string
let pidFile: string

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'carillon-program-'))
  pidFile = join(work, 'pid')
})

afterEach(async () => {
  await rm(work, { recursive: true, force: true })
})

describe('runProgram', () => {
  it('captures both streams and the exit code', async () => {
    const result = await runProgram('/bin/sh', ['-c', 'echo out; echo err >&2; exit 3'], { capture: true })
    expect(result).toMatchObject({ ok: false, exitCode: 3 })
    expect(result.output.split('\n').toSorted()).toEqual(['', 'err', 'out'])
  })

  it('tells of a program that cannot be started', async () => {
    expect(await runProgram(join(work, 'none'), [], { capture: true })).toMatchObject({ ok: false, exitCode: 127 })
  })

  it('kills what a program left behind', async () => {
    const result = await runProgram('/bin/sh', ['-c', `sleep 600 & echo $! > ${pidFile}`], { capture: true })
    expect(result.ok).toBe(true)
    await expectGone(await readPid())
  })

  it('stops the whole group on an abort, with the signal that was the reason', async () => {
    const controller = new AbortController()
    const running = runProgram('/bin/sh', ['-c', `sleep 600 & echo $! > ${pidFile}; wait`], {
      capture: true,
      signal: controller.signal,
    })
    await vi.waitUntil(() => existsSync(pidFile), { timeout: 5000 })
    const pid = await readPid()
    controller.abort('SIGINT')
    expect(await running).toMatchObject({ ok: false, exitCode: 130 })
    await expectGone(pid)
  })

  it('starts nothing after an abort', async () => {
    const result = await runProgram('/bin/sh', ['-c', `echo > ${pidFile}`], { signal: AbortSignal.abort('SIGTERM') })
    expect(result).toMatchObject({ ok: false, exitCode: 143 })
    expect(existsSync(pidFile)).toBe(false)
  })
})

async function readPid(): Promise<number> {
  return vi.waitUntil(async () => Number(await readFile(pidFile, 'utf8')) || undefined, { timeout: 5000 })
}

async function expectGone(pid: number): Promise<void> {
  await vi.waitUntil(() => !isRunning(pid), { timeout: 5000 })
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  // Where nobody reaps orphans (a container without an init) a dead one stays as a zombie.
  return !(existsSync(`/proc/${pid}/stat`) && / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')))
}
