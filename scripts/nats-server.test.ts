import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isAtLeast } from './nats-server.mjs'

const SCRIPT = join(import.meta.dirname, 'nats-server.mjs')

let work: string

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'carillon-nats-server-'))
})

afterEach(async () => {
  await rm(work, { recursive: true, force: true })
})

describe('provideNatsServer', () => {
  it('takes the one named in the environment first', async () => {
    const named = await fakeServer(join(work, 'named'), '2.90.0')
    await fakeServer(join(work, 'path'), '2.91.0')
    expect(await provide({ CARILLON_NATS_SERVER: named })).toEqual({ code: 0, stdout: named, stderr: '' })
  })

  it('refuses a named one that is too old, and says which version it needs', async () => {
    const named = await fakeServer(join(work, 'named'), '2.9.10')
    const { code, stderr } = await provide({ CARILLON_NATS_SERVER: named })
    expect(code).toBe(1)
    expect(stderr).toContain('is version 2.9.10')
    expect(stderr).toContain('2.12.0 or newer')
  })

  it('refuses a named one that is no nats-server', async () => {
    const { code, stderr } = await provide({ CARILLON_NATS_SERVER: process.execPath })
    expect(code).toBe(1)
    expect(stderr).toContain('does not run as a nats-server')
  })

  it('takes the one on the PATH before the cached one', async () => {
    const onPath = await fakeServer(join(work, 'path'), '2.90.0')
    await fakeServer(cached('2.95.0'), '2.95.0')
    expect(await provide()).toMatchObject({ code: 0, stdout: onPath })
  })

  it('takes the newest cached one, by number', async () => {
    await fakeServer(cached('100.9.0'), '100.9.0')
    const newest = await fakeServer(cached('100.10.0'), '100.10.0')
    expect(await provide({}, { minVersion: '100.0.0' })).toMatchObject({ code: 0, stdout: newest })
  })

  it('names every source it tried and the next step when there is none', async () => {
    const { code, stderr } = await provide({}, { minVersion: '100.0.0' })
    expect(code).toBe(1)
    expect(stderr).toContain('apt-get is not on this machine')
    expect(stderr).toContain('release archive: ')
    expect(stderr).toContain('CARILLON_NATS_SERVER')
  })
})

describe('isAtLeast', () => {
  it('compares numbers, not text', () => {
    expect(isAtLeast('2.12.0', '2.12.0')).toBe(true)
    expect(isAtLeast('2.9.10', '2.12.0')).toBe(false)
    expect(isAtLeast('3.0.0', '2.12.9')).toBe(true)
  })
})

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the provider in a process of its own, where nothing but the fakes is on the PATH and downloads fail at once. */
function provide(env: NodeJS.ProcessEnv = {}, { minVersion = '2.12.0' } = {}): Promise<Outcome> {
  const code = `
    import { provideNatsServer } from ${JSON.stringify(SCRIPT)}
    globalThis.fetch = async () => { throw new Error('there is no network in this test') }
    await provideNatsServer({ minVersion: ${JSON.stringify(minVersion)} }).then(
      ({ path }) => console.log(path),
      (error) => { console.error(error.message); process.exitCode = 1 },
    )`
  const isolated = { PATH: join(work, 'path'), XDG_CACHE_HOME: join(work, 'cache'), ...env }
  return new Promise((resolve) => {
    execFile(process.execPath, ['--input-type=module', '-e', code], { env: isolated }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout: stdout.trim(), stderr: stderr.trim() })
    })
  })
}

function cached(version: string): string {
  return join(work, 'cache', 'carillon', 'nats-server', version)
}

async function fakeServer(folder: string, version: string): Promise<string> {
  const path = join(folder, 'nats-server')
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, `#!/bin/sh\necho 'nats-server: v${version}'\n`)
  await chmod(path, 0o755)
  return path
}
