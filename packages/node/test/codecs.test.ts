import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Carillon, connect } from '@carillon/client'
import { type CarillonNode, openNode } from '@carillon/node'
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'
import { compression, createCodecs, encryption, type PayloadCodecs } from '@carillon/runtime/codecs'
import { silentLogger } from '@carillon/runtime/ports'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect as natsConnect } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { runCli } from './cli/cli-process.ts'
import { makeWorkflowFolder } from './cli/workflow-folder.ts'

const SECRET = 'the-secret-of-ada'
const Diary = defineWorkflow('diary', {
  input: type<string | undefined>(),
  result: type<string>(),
  signals: { write: type<string>(), copy: type<string>(), close: type<void>() },
  updates: { add: { input: type<string>(), output: type<string>() } },
  queries: { pages: { output: type<readonly string[]>() } },
  activities: { print: { input: type<string>(), output: type<string>() } },
})
const diary = implement(Diary, {
  startOnSignal: true,
  state: (input) => ({ pages: input === undefined ? [] : [input] }),
  on: {
    async write(ctx, text) {
      ctx.state.pages.push(await ctx.activities.print(text))
    },
    copy: (ctx, text) => ctx.workflow(Diary, 'copy').signal('write', text),
    close: (ctx) => ctx.complete(ctx.state.pages.join('|')),
  },
  updates: {
    add(ctx, text) {
      ctx.state.pages.push(text)
      return `added ${text}`
    },
  },
  queries: { pages: (state) => state.pages },
})
const printing = implementActivities(Diary, { print: (text) => `${text} in print` })

const k1 = Buffer.alloc(32, 1).toString('base64')
const k2 = Buffer.alloc(32, 2).toString('base64')
const ring = (current: string): PayloadCodecs =>
  createCodecs([compression(), encryption({ keys: { k1, k2 }, current })])

/** The same type as an author writes it, as far as the command needs it. */
const DIARY = `
import { defineWorkflow, implement, type } from '@carillon/runtime'
export const Diary = defineWorkflow('diary', { updates: { add: { input: type<string>(), output: type<string>() } } })
export default implement(Diary, {
  startOnSignal: true,
  state: () => ({ pages: [] as string[] }),
  updates: { add(ctx, text) { ctx.state.pages.push(text); return 'added ' + text } },
})
`

describe('a cluster with codecs', () => {
  let server: TestServer
  let dataDir: string
  let node: CarillonNode
  let ada: Carillon

  const open = async (codecs: PayloadCodecs): Promise<void> => {
    node = await openNode({
      servers: server.url,
      dataDir,
      workflows: { implementations: [diary], activities: [printing] },
      logger: silentLogger,
      partitions: 4,
      codecs,
    })
    await node.caughtUp
  }

  beforeAll(async () => {
    server = await startTestServer()
    dataDir = await mkdtemp(join(tmpdir(), 'carillon-codecs-'))
    await open(ring('k1'))
    ada = await connect({ servers: server.url, codecs: ring('k1') })
  })

  afterAll(async () => {
    await ada.close()
    await node.close()
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
  })

  it('keeps every value unreadable in the streams and in the data folder, over a rotation of the key and a restart', async () => {
    const handle = ada.workflow(Diary, 'ada')
    await handle.start(SECRET)
    await handle.signal('write', SECRET.repeat(100), { wait: 'applied' })
    await handle.signal('copy', SECRET, { wait: 'applied' })
    expect(await handle.update('add', SECRET)).toBe(`added ${SECRET}`)
    // A signal that the type does not know, from a handle without a contract.
    await expect(ada.workflow('diary', 'ada').signal('burn', SECRET, { wait: 'applied' })).rejects.toMatchObject({
      code: 'UNKNOWN_NAME',
    })
    await node.close()
    await open(ring('k2'))
    expect(await handle.query('pages')).toEqual([SECRET, `${SECRET.repeat(100)} in print`, SECRET])
    await handle.signal('write', 'by the new node')
    await handle.signal('close')
    expect(await handle.result()).toContain('by the new node in print')
    expect(await ada.workflow(Diary, 'copy').query('pages')).toEqual([`${SECRET} in print`])

    const written = [await bytesOfStreams(server.url), await bytesOfFolder(dataDir)].join('')
    expect(written).toContain('aes-gcm')
    expect(written).not.toContain(SECRET)
    expect(written).toContain('diary')
  })

  it('shows payloads to those who have the codecs, in the history and among the dead letters, and to nobody else', async () => {
    const payloads: unknown[] = []
    for await (const { kind, name, payload } of ada.workflow(Diary, 'ada').history({ limit: 2 }))
      payloads.push([kind, name, payload])
    expect(payloads).toEqual([
      ['start', '', { input: SECRET, ifRunning: 'fail' }],
      ['signal', 'write', SECRET.repeat(100)],
    ])
    const letters = []
    for await (const letter of ada.deadLetters()) letters.push(letter)
    expect(letters).toMatchObject([{ payload: SECRET, encoding: 'msgpack,aes-gcm', name: 'burn' }])
    await using stranger = await connect({ servers: server.url })
    for await (const letter of stranger.deadLetters()) {
      expect(letter.unreadable).toContain('encoded by "aes-gcm", and this process has no codecs')
      expect(letter.reason.message).toMatch(/^sealed:/)
    }
    // What is driven again goes as it was stored, also by who cannot read it.
    const again = await stranger.redrive(letters[0]?.seq ?? 0, { wait: 'applied' }).catch((error: unknown) => error)
    expect(again).toMatchObject({ code: 'UNKNOWN_NAME' })
  })

  it('takes plain JSON from any NATS client', async () => {
    const nc = await natsConnect({ servers: server.url })
    await nc.request('carillon.signal.diary.plain.write', '"from a shell"')
    await nc.close()
    await expect.poll(() => ada.workflow(Diary, 'plain').query('pages')).toEqual(['from a shell in print'])
  })

  it('is read and written by the command with --codecs', async () => {
    const folder = makeWorkflowFolder()
    try {
      folder.write(
        'codecs.ts',
        `import { compression, createCodecs, encryption } from '@carillon/runtime/codecs'
         export const codecs = createCodecs([compression(), encryption({ keys: { k1: ${JSON.stringify(k1)}, k2: ${JSON.stringify(k2)} }, current: 'k1' })])`,
      )
      const codecs = ['--servers', server.url, '--codecs', folder.file('codecs.ts')]
      const sent = await runCli(['update', 'diary', 'cli', 'add', '"typed"', ...codecs])
      expect(sent.stdout.trim()).toBe('"added typed"')
      const shown = await runCli(['history', 'diary', 'cli', ...codecs])
      expect(shown.stdout).toContain('typed')
      folder.write('diary.ts', DIARY)
      const states = await runCli([
        'history',
        'diary',
        'cli',
        '--state',
        '--workflows',
        folder.file('diary.ts'),
        ...codecs,
      ])
      expect(states.stdout).toContain('= {"pages":["typed"]}')
      const replay = ['replay', '--type', 'diary', '--id', 'cli', '--workflows', folder.file('diary.ts')]
      expect(await runCli([...replay, ...codecs])).toMatchObject({ code: 0 })
      expect(await runCli([...replay, '--servers', server.url])).toMatchObject({ code: 1 })
      const blind = await runCli(['history', 'diary', 'cli', '--servers', server.url])
      expect(blind.stdout).not.toContain('typed')
    } finally {
      folder.remove()
    }
  })
})

async function bytesOfStreams(servers: string): Promise<string> {
  const nc = await natsConnect({ servers })
  const manager = await jetstreamManager(nc)
  const parts: string[] = []
  for (const stream of ['carillon-log', 'carillon-dead']) {
    const { state } = await manager.streams.info(stream)
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      const message = await manager.direct.getMessage(stream, { seq })
      if (message === null) continue
      for (const [name, values] of message.header) parts.push(`${name}: ${values.join()}`)
      parts.push(message.subject, Buffer.from(message.data).toString('latin1'))
    }
  }
  await nc.close()
  return parts.join('\n')
}

async function bytesOfFolder(path: string): Promise<string> {
  const files = await readdir(path, { recursive: true, withFileTypes: true })
  const texts = files
    .filter((file) => file.isFile())
    .map(async (file) => (await readFile(join(file.parentPath, file.name))).toString('latin1'))
  return (await Promise.all(texts)).join('\n')
}
