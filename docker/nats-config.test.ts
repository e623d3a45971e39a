import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { provideNatsServer } from '../scripts/nats-server.mjs'

const run = promisify(execFile)

const HERE = import.meta.dirname
const PARTITIONS = 64
const DEADLINE_MS = 10_000

let natsServer: string
let work: string

beforeAll(async () => {
  natsServer = (await provideNatsServer()).path
  work = await mkdtemp(join(tmpdir(), 'carillon-nats-config-'))
}, 120_000)

afterAll(async () => {
  await rm(work, { recursive: true, force: true })
})

describe.each(['nats-strict.conf', 'nats-fast.conf'])('%s', (name) => {
  it('is valid', async () => {
    await expect(validate(join(HERE, name))).resolves.toContain('is valid')
  })

  it('is valid with the door mapped by the server', async () => {
    await writeFile(join(work, 'door-mapping.conf'), await readFile(join(HERE, 'door-mapping.conf')))
    const mapped = join(work, name)
    await writeFile(mapped, uncommentInclude(await readFile(join(HERE, name), 'utf8')))
    await expect(validate(mapped)).resolves.toContain('is valid')
  })

  it('names the variable that its environment lacks', async () => {
    await expect(validate(join(HERE, name), {})).rejects.toThrow('NATS_NAME')
  })
})

describe('door-mapping.conf', () => {
  it('carries a plain publish to the partition that a client computes', async () => {
    await using server = await startServer(join(HERE, 'door-mapping.conf'))
    for (const id of ['customer-42', 'a', 'Zz_9-']) {
      const partition = fnv1a32(`loyalty${id}`) % PARTITIONS
      const landed = await publishAndSee(server.port, 'carillon.log.>', `carillon.signal.loyalty.${id}.purchase`)
      expect(landed).toBe(`carillon.log.${partition}.loyalty.${id}.signal.purchase`)
    }
  })
})

async function validate(file: string, env: NodeJS.ProcessEnv = clusterEnvironment()): Promise<string> {
  const { stdout, stderr } = await run(natsServer, ['-t', '-c', file], { env })
  return stdout + stderr
}

function clusterEnvironment(): NodeJS.ProcessEnv {
  return {
    NATS_NAME: 'nats-1',
    NATS_ROUTES: '["nats://nats-1:6222", "nats://nats-2:6222", "nats://nats-3:6222"]',
    NATS_STORE_DIR: join(work, 'store'),
  }
}

function uncommentInclude(text: string): string {
  const mapped = text.replace('# include "door-mapping.conf"', 'include "door-mapping.conf"')
  expect(mapped).not.toBe(text)
  return mapped
}

async function startServer(config: string): Promise<AsyncDisposable & { readonly port: number }> {
  const child = spawn(natsServer, ['-c', config, '-a', '127.0.0.1', '-p', '-1'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const close = async () => {
    const exited = once(child, 'exit')
    if (child.kill('SIGKILL')) await exited
  }
  for await (const line of createInterface({ input: child.stderr, signal: AbortSignal.timeout(DEADLINE_MS) })) {
    const port = /Listening for client connections on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port !== undefined) return { port: Number(port), [Symbol.asyncDispose]: close }
  }
  await close()
  throw new Error('nats-server ended before it listened')
}

/** Speaks the client protocol by hand: subscribes to `pattern`, publishes to `subject`, returns the subject delivered. */
async function publishAndSee(port: number, pattern: string, subject: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', signal: AbortSignal.timeout(DEADLINE_MS) })
  try {
    socket.write(`CONNECT {"verbose":false}\r\nSUB ${pattern} 1\r\nPUB ${subject} 2\r\nhi\r\n`)
    for await (const line of createInterface({ input: socket })) {
      const landed = /^MSG (\S+) 1 2$/.exec(line)?.[1]
      if (landed !== undefined) return landed
    }
  } finally {
    socket.destroy()
  }
  throw new Error('the connection ended before the message came')
}

function fnv1a32(ascii: string): number {
  let hash = 0x811c9dc5
  for (const char of Buffer.from(ascii, 'ascii')) hash = Math.imul(hash ^ char, 0x01000193)
  return hash >>> 0
}
