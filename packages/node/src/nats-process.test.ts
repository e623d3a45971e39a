import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { connect } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { provideNatsServer } from '../../../scripts/nats-server.mjs'
import { freePort, type NatsProcess, openNatsProcess } from './nats-process.ts'

const WAIT = { timeout: 10_000, interval: 10 }

describe('openNatsProcess', () => {
  let path: string
  let storeDir: string
  let running: NatsProcess[]

  beforeEach(async () => {
    path = (await provideNatsServer()).path
    storeDir = await mkdtemp(join(tmpdir(), 'carillon-nats-'))
    running = []
  })

  afterEach(async () => {
    await Promise.all(running.map((server) => server.kill9()))
    await rm(storeDir, { recursive: true, force: true })
  })

  const start = async (options: { port?: number; config?: string } = {}): Promise<NatsProcess> => {
    const server = await openNatsProcess({ path, storeDir, ...options })
    running.push(server)
    return server
  }

  const nameOf = async ({ url }: NatsProcess): Promise<unknown> => {
    const nc = await connect({ servers: url })
    const { info } = nc
    await nc.close()
    return info
  }

  it('answers when it resolves, and is the same server when it is started again', async () => {
    const first = await start()
    const info = await nameOf(first)
    expect(info).toMatchObject({ jetstream: true })
    await first.stop()
    const again = await start({ port: first.port })
    expect(again.url).toBe(first.url)
    expect(again.pid).not.toBe(first.pid)
    expect(await nameOf(again)).toMatchObject({ server_name: (info as { server_name: string }).server_name })
  })

  it('tells when it has ended, however it did', async () => {
    const server = await start()
    await server.kill9()
    await server.exited
    await server.stop()
    expect(isAlive(server.pid)).toBe(false)
  })

  it('quotes the log of a server that does not start', async () => {
    await expect(start({ config: 'nonsense: {' })).rejects.toMatchObject({
      code: 'SERVER_UNREACHABLE',
      message: expect.stringContaining('Parse error on line'),
    })
  })

  it('is not deceived by another server on its port', async () => {
    const other = await mkdtemp(join(tmpdir(), 'carillon-nats-'))
    const port = await freePort()
    const first = await openNatsProcess({ path, storeDir: other, port, name: 'same' })
    running.push(first)
    const second = openNatsProcess({ path, storeDir, port, name: 'same' })
    await expect(second).rejects.toMatchObject({ code: 'SERVER_UNREACHABLE' })
    await first.kill9()
    await rm(other, { recursive: true, force: true })
  })

  it.skipIf(process.platform === 'win32')(
    'ends with the process that started it, also when that is killed',
    async () => {
      const module = pathToFileURL(join(import.meta.dirname, 'nats-process.ts')).href
      const program = `
      const { openNatsProcess } = await import(${JSON.stringify(module)})
      const server = await openNatsProcess(${JSON.stringify({ path, storeDir })})
      console.log(server.pid)
      setInterval(() => {}, 1000)`
      const args = ['--conditions=source', '--import', 'tsx', '--input-type=module', '-e', program]
      const parent = spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] })
      const [chunk] = (await once(parent.stdout, 'data')) as [Buffer]
      const pid = Number(chunk.toString())
      expect(isAlive(pid)).toBe(true)
      parent.kill('SIGKILL')
      await vi.waitFor(() => expect(isAlive(pid)).toBe(false), WAIT)
    },
  )
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
