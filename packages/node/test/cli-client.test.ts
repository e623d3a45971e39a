/** The commands of a producer, against a node that runs as a process. */
import { type Carillon, connect } from '@carillon/client'
import { codeOf } from '@carillon/runtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestServer, type TestServer } from '../src/testing/nats-process.ts'
import { type CliEnd, type CliProcess, endAll, errorLine, runCli } from './cli/cli-process.ts'
import { startNodeProcess } from './cli/start-node.ts'
import { makeWorkflowFolder, type WorkflowFolder } from './cli/workflow-folder.ts'

let server: TestServer
let folder: WorkflowFolder
let node: CliProcess

beforeAll(async () => {
  server = await startTestServer()
  folder = makeWorkflowFolder()
  node = await startNode({ TEST_BROKEN: '1' })
})
afterAll(async () => {
  await endAll()
  await server?.stop()
  folder?.remove()
})

async function startNode(env: Record<string, string>): Promise<CliProcess> {
  const started = startNodeProcess({ servers: server.url, folder, env })
  await started.says('the node is ready')
  return started
}

function carillon(...args: string[]): Promise<CliEnd> {
  return runCli(args, { env: { CARILLON_SERVERS: server.url } })
}

/** What a command that succeeds prints. */
async function output(...args: string[]): Promise<string> {
  const end = await carillon(...args)
  expect(end).toMatchObject({ code: 0, stderr: '' })
  return end.stdout
}

async function json(...args: string[]): Promise<unknown> {
  return JSON.parse(await output(...args, '--json')) as unknown
}

describe('inputs', () => {
  it('starts an instance with its input', async () => {
    expect(await output('start', 'counter', 'started', '{"total": 7}', '--wait', 'applied')).toMatch(
      /^applied at seq \d+, id \S+\n$/,
    )
    expect(await json('query', 'counter', 'started', 'total')).toBe(7)
  })

  it('tells that an instance runs already, or goes on with it', async () => {
    await output('start', 'counter', 'twice', '{"total": 1}', '--wait', 'applied')
    const again = await carillon('start', 'counter', 'twice', '{"total": 2}', '--wait', 'applied')
    expect(again.code).toBe(1)
    expect(errorLine(again)).toMatch(/^error ALREADY_STARTED: /)
    await output('start', 'counter', 'twice', '{"total": 2}', '--wait', 'applied', '--if-running', 'use')
    expect(await json('query', 'counter', 'twice', 'total')).toBe(1)
  })

  it('sends a signal once, however often it is repeated with its id', async () => {
    const first = await json('signal', 'counter', 'once', 'add', '{"n": 5}', '--id', 'order-1', '--wait', 'applied')
    expect(first).toMatchObject({ id: 'order-1', duplicate: false, seq: expect.any(Number) as number })
    expect(
      await output('signal', 'counter', 'once', 'add', '{"n": 5}', '--id', 'order-1', '--wait', 'applied'),
    ).toContain('a repeat')
    expect(await json('query', 'counter', 'once', 'total')).toBe(5)
  })

  it('takes the payload from stdin', async () => {
    const env = { CARILLON_SERVERS: server.url }
    expect((await runCli(['signal', 'counter', 'piped', 'add', '-'], { env, input: '{"n": 11}\n' })).code).toBe(0)
    expect(await json('query', 'counter', 'piped', 'total')).toBe(11)
  })

  it('signals with a start in one input', async () => {
    await output('signal', 'counter', 'both', 'add', '{"n": 1}', '--start', '{"total": 100}', '--wait', 'applied')
    expect(await json('query', 'counter', 'both', 'total')).toBe(101)
    expect(await output('history', 'counter', 'both')).toMatch(/\bstart\b/)
  })

  it('updates, and prints what the handler returns', async () => {
    await output('signal', 'counter', 'updated', 'add', '{"n": 10}')
    expect(await output('update', 'counter', 'updated', 'take', '{"n": 4}')).toBe('{\n  "left": 6\n}\n')
    expect(await json('update', 'counter', 'updated', 'take', '{"n": 1}')).toEqual({ left: 5 })
  })
})

describe('reads', () => {
  it('queries with an input', async () => {
    await output('signal', 'counter', 'asked', 'add', '{"n": 2}')
    expect(await output('query', 'counter', 'asked', 'plus', '{"n": 40}')).toBe('42\n')
  })

  it('waits for the result of an instance', async () => {
    await output('signal', 'counter', 'closing', 'add', '{"n": 3}')
    const waiting = json('result', 'counter', 'closing', '--timeout', '10s')
    await output('signal', 'counter', 'closing', 'close')
    expect(await waiting).toEqual({ total: 3 })
  })

  it('ends with 1 when the workflow failed', async () => {
    await output('signal', 'counter', 'failing', 'give_up')
    const end = await carillon('result', 'counter', 'failing', '--timeout', '10s')
    expect(end.code).toBe(1)
    expect(errorLine(end)).toBe('error WORKFLOW_FAILED: given up')
  })

  it('ends with 8 when the result is not there in time', async () => {
    await output('signal', 'counter', 'open', 'add', '{"n": 3}')
    const end = await carillon('result', 'counter', 'open', '--timeout', '300ms')
    expect(end.code).toBe(8)
    expect(errorLine(end)).toMatch(/^error TIMEOUT: .*ask again$/)
  })

  it('describes an instance', async () => {
    await output('signal', 'counter', 'described', 'add', '{"n": 3}', '--wait', 'applied')
    expect(await output('describe', 'counter', 'described')).toMatch(/^instance +counter\/described\nstatus +running\n/)
    expect(await json('describe', 'counter', 'described')).toMatchObject({
      type: 'counter',
      id: 'described',
      status: 'running',
      knownIds: 1,
    })
  })

  it('gives the history, an input a line', async () => {
    for (const n of [1, 2, 3]) await output('signal', 'counter', 'told', 'add', `{"n": ${n}}`, '--id', `id-${n}`)
    const table = await output('history', 'counter', 'told')
    expect(table).toMatch(/^SEQ +TIME +KIND +NAME +ID +PAYLOAD\n\d+ +\S+Z +signal +add +id-1 +\{"n":1\}\n/)
    const lines = (await output('history', 'counter', 'told', '--json'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { seq: number })
    expect(lines).toMatchObject([1, 2, 3].map((n) => ({ kind: 'signal', name: 'add', id: `id-${n}`, payload: { n } })))
    const rest = await output('history', 'counter', 'told', '--from', String(lines[1]?.seq), '--limit', '1', '--json')
    expect(JSON.parse(rest)).toMatchObject({ id: 'id-2' })
  })

  it('lists by type and status, page by page', async () => {
    const ids = ['page-a', 'page-b', 'page-c', 'page-d', 'page-e']
    await Promise.all(ids.map((id) => output('signal', 'counter', id, 'close', '--wait', 'applied')))
    const seen: string[] = []
    let after: string[] = []
    do {
      const page = (await json('list', '--type', 'counter', '--status', 'completed', '--limit', '2', ...after)) as {
        rows: { id: string; status: string }[]
        next: string | null
      }
      expect(page.rows.length).toBeLessThanOrEqual(2)
      expect(page.rows.every(({ status }) => status === 'completed')).toBe(true)
      seen.push(...page.rows.map(({ id }) => id))
      after = page.next === null ? [] : ['--after', page.next]
    } while (after.length > 0)
    expect(seen).toEqual(expect.arrayContaining(ids))
    expect(new Set(seen).size).toBe(seen.length)
    const page = await carillon('list', '--limit', '1')
    expect(page.stdout).toMatch(/^TYPE +ID +STATUS +STARTED +SEQ\ncounter /)
    expect(page.stderr).toMatch(/^more: --after '\d+/)
    expect(await output('list', '--type', 'nothing')).toBe('no instances\n')
  })

  it('lists and counts by attributes, whose values the node reads as the contract declares them', async () => {
    for (const label of ['red', 'reddish'])
      await output('signal', 'counter', `label-${label}`, 'label', `"${label}"`, '--wait', 'applied')
    const where = ['label^=red', 'size>=4', 'isBig=true', 'at>1970-01-01'].flatMap((text) => ['--where', text])
    expect(await output('list', '--type', 'counter', '--started-after', '1 hour', ...where)).toMatch(
      /ATTRIBUTES\n.*label=reddish size=7 at=1970-01-02T00:00:00.000Z isBig=true\n$/,
    )
    const counted = await output('count', '--type', 'counter', '--where', 'label', '--group-by', 'isBig')
    expect(counted).toBe('COUNT  VALUE\n1      false\n1      true\n')
    expect(errorLine(await carillon('list', '--type', 'counter', '--where', 'size=big'))).toMatch(
      /^error INVALID_ATTRIBUTE: the attribute size of counter is a number/,
    )
  })
})

describe('dead letters', () => {
  it('are listed, shown, and driven again, once', async () => {
    const late = await carillon('start', 'counter', 'dead', '{"total": 1}', '--wait', 'applied')
    expect(late.code).toBe(0)
    const refused = await carillon('signal', 'counter', 'dead', 'nope', '{"n": 5}', '--id', 'o-1', '--wait', 'applied')
    expect(errorLine(refused)).toMatch(/^error UNKNOWN_NAME: /)
    const letters = (): Promise<string> => output('dead', 'list', '--type', 'counter', '--id', 'dead', '--json')
    await expect.poll(letters, { timeout: 10_000 }).not.toBe('')
    const letter = JSON.parse(await letters()) as { seq: number; originSeq: number }
    expect(letter).toMatchObject({
      type: 'counter',
      id: 'dead',
      kind: 'signal',
      name: 'nope',
      inputId: 'o-1',
      reason: { code: 'UNKNOWN_NAME' },
      payload: { n: 5 },
    })
    expect(await output('dead', 'list', '--type', 'counter', '--id', 'dead')).toMatch(
      /^DEAD +TIME +TYPE +ID +INPUT +SEQ +REASON\n\d+ +\S+Z +counter +dead +signal nope +\d+ +UNKNOWN_NAME: /,
    )
    expect(await output('dead', 'list', '--type', 'nothing')).toBe('no dead letters\n')
    const shown = await output('dead', 'show', String(letter.seq))
    expect(shown).toMatch(/^instance +counter\/dead\ninput +signal nope\ninput id +o-1$/m)
    expect(shown).toMatch(/^payload +\{"n":5\}$/m)
    expect(await json('dead', 'show', String(letter.seq))).toEqual(letter)

    const id = `o-1~${letter.originSeq}`
    const redriven = await json('dead', 'redrive', String(letter.seq))
    expect(redriven).toMatchObject({ deadSeq: letter.seq, id, duplicate: false })
    const again = await carillon('dead', 'redrive', String(letter.seq), '--wait', 'applied')
    expect(errorLine(again)).toMatch(/^error UNKNOWN_NAME: /)
    const lines = async (): Promise<number> => (await letters()).trim().split('\n').length
    await expect.poll(lines, { timeout: 10_000 }).toBe(2)
    expect((await letters()).trim().split('\n').at(-1)).toContain(`"inputId":"${id}"`)
  })
})

describe('what is refused', () => {
  it.each([
    [
      'a payload that is no JSON',
      ['signal', 'counter', 'x', 'add', '{n: 1}'],
      2,
      /^error INVALID_PAYLOAD: .*quote it for the shell/,
    ],
    ['a bad id', ['signal', 'counter', 'a\nb', 'add', '{}'], 2, /^error INVALID_ID: .*control character/],
    [
      'an unknown option',
      ['list', '--limt', '3'],
      2,
      /^error CONFIG_INVALID: unknown option '--limt'.*see carillon --help$/,
    ],
    ['an option that is no number', ['list', '--limit', 'many'], 2, /^error CONFIG_INVALID: .*whole number/],
    ['a duration without a unit', ['result', 'counter', 'x', '--timeout', '10'], 2, /^error CONFIG_INVALID: .*'30s'/],
    ['a missing argument', ['signal', 'counter', 'x'], 2, /^error CONFIG_INVALID: missing required argument 'name'/],
    ['an unknown command', ['singal'], 2, /^error CONFIG_INVALID: unknown command 'singal'.*signal/],
    ['a cursor that is none', ['list', '--after', 'x'], 2, /^error CONFIG_INVALID: after is "x"/],
    ['a dead letter that is none', ['dead', 'show', '999999'], 1, /^error NOT_FOUND: .*carillon dead list/],
    ['a dead letter without a number', ['dead', 'redrive', 'x'], 2, /^error CONFIG_INVALID: .*carillon dead list/],
    ['dead letters of no type', ['dead', 'list', '--id', 'x'], 2, /^error CONFIG_INVALID: .*without a type/],
    ['an instance that is not there', ['query', 'counter', 'nobody', 'total'], 1, /^error NOT_FOUND: /],
    ['a query that nobody declared', ['query', 'counter', 'asked', 'totals'], 1, /^error UNKNOWN_NAME: .*total, plus/],
    [
      'another namespace',
      ['list', '--namespace', 'other', '--connect-timeout', '300ms'],
      2,
      /^error CONFIG_INVALID: there is no Carillon cluster in namespace other/,
    ],
  ])('%s', async (_, args, code, message) => {
    const end = await carillon(...args)
    expect(end.code).toBe(code)
    expect(end.stdout).toBe('')
    expect(errorLine(end)).toMatch(message)
  })

  it('is told as JSON with --json', async () => {
    const end = await carillon('query', 'counter', 'nobody', 'total', '--json')
    expect(JSON.parse(errorLine(end))).toMatchObject({
      error: { code: 'NOT_FOUND', message: expect.stringContaining('counter/nobody') as string },
    })
  })
})

describe('help', () => {
  it('shows examples and the exit codes', async () => {
    const text = await output('--help')
    expect(text).toContain('carillon dev workflow.ts')
    expect(text).toMatch(/^ {2}3 +no NATS server answered$/m)
    expect(await output('signal', '--help')).toContain('Examples:')
  })

  it('has an example for every command', async () => {
    const commands = [...(await output('--help')).matchAll(/^ {2}([a-z]+) (?:\[|<| )/gm)]
      .map(([, name]) => name ?? '')
      .filter((name) => name !== 'help')
    expect(commands).toEqual(
      expect.arrayContaining([
        'dev',
        'node',
        'start',
        'signal',
        'update',
        'query',
        'result',
        'describe',
        'list',
        'count',
        'history',
        'pause',
        'resume',
        'retry',
        'skip',
        'cancel',
        'terminate',
        'dead',
        'doctor',
        'health',
      ]),
    )
    const texts: string[] = []
    // A few at a time: each is a process.
    for (let at = 0; at < commands.length; at += 5)
      texts.push(...(await Promise.all(commands.slice(at, at + 5).map((name) => output(name, '--help')))))
    for (const [i, text] of texts.entries()) expect(text).toContain(`$ carillon ${commands[i]}`)
    for (const text of texts) expect(text).toContain('--json')
  }, 60_000)

  it('prints the version', async () => {
    expect(await output('--version')).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

describe('operators', () => {
  let client: Carillon
  beforeAll(async () => void (client = await connect({ servers: server.url })))
  afterAll(() => client.close())
  const add = (id: string, n: number): Promise<unknown> => client.workflow('counter', id).signal('add', { n })
  const trip = (id: string): Promise<unknown> =>
    client.workflow('counter', id).signal('trip', undefined, { wait: 'applied' }).catch(codeOf)
  const total = (id: string): Promise<unknown> => client.workflow('counter', id).query('total')

  it('skip the input that suspended an instance, once; dead letters show it', async () => {
    await add('skipped', 1)
    expect(await trip('skipped')).toBe('SUSPENDED')
    await add('skipped', 2)
    const handle = client.workflow('counter', 'skipped')
    const { suspended } = await handle.describe()
    expect(await handle.retry(suspended?.seq ?? 0)).toBe(true)
    expect(await output('skip', 'counter', 'skipped', String(suspended?.seq))).toMatch(/^seq \d+: skipped: /)
    expect(await handle.skip(suspended?.seq ?? 0)).toBe(false)
    expect(await total('skipped')).toBe(3)
    const letters = client.deadLetters({ type: 'counter', id: 'skipped' })
    expect((await letters.next()).value).toMatchObject({
      originSeq: suspended?.seq,
      reason: { code: 'HANDLER_FAILED', message: 'the handler is broken' },
    })
  })

  it('terminate a suspended instance at once, or start it anew', async () => {
    expect(await trip('ended')).toBe('SUSPENDED')
    expect(await output('terminate', 'counter', 'ended', 'enough', '--wait', 'applied')).toMatch(/^applied at seq /)
    for (const sum of [3, 4])
      await output('start', 'counter', 'ended', `{"total": ${sum}}`, '--if-running', 'terminate', '--wait', 'applied')
    expect(await total('ended')).toBe(4)
    expect(await output('cancel', 'counter', 'ended', 'no use', '--wait', 'applied')).toMatch(/^applied/)
    await expect(client.workflow('counter', 'ended').result()).rejects.toMatchObject({ code: 'CANCELLED' })
  })

  it('pause an instance, and a type over a restart of the node; then everything goes on', async () => {
    for (const id of ['one', 'two']) await add(id, 1)
    await output('pause', 'counter', 'one', '--reason', 'the partner is down', '--wait', 'applied')
    await add('one', 10)
    expect(await total('one')).toBe(1)
    expect(await output('describe', 'counter', 'one')).toMatch(/^paused +at seq \d+, .*: the partner is down$/m)
    expect(await output('pause', '--type', 'counter')).toBe('the type counter is paused\n')
    expect((await carillon('pause', 'counter')).code).toBe(2)
    const two = client.workflow('counter', 'two')
    await expect.poll(() => two.describe()).toMatchObject({ status: 'paused', paused: { by: 'type' } })
    await add('two', 10)
    await add('three', 10)

    expect((await node.stop()).code).toBe(0)
    node = await startNode({ TEST_BROKEN: '1' })
    expect(await two.describe()).toMatchObject({ status: 'paused', queued: 1 })
    expect(await total('two')).toBe(1)
    expect((await client.list({ status: 'paused' }).next()).value).toMatchObject({ type: 'counter', id: 'one' })
    expect(await json('resume', '--type', 'counter')).toEqual({ type: 'counter', changed: true })
    await expect.poll(() => total('two')).toBe(11)
    await expect.poll(() => total('three').catch(codeOf)).toBe(10)
    expect(await total('one')).toBe(1)
    await output('resume', 'counter', 'one', '--wait', 'applied')
    expect(await total('one')).toBe(11)
  })
})

describe('a suspended instance', () => {
  it('is listed, tells why, and goes on when it is resumed with repaired code', async () => {
    await output('signal', 'counter', 'tripped', 'add', '{"n": 1}')
    const refused = await carillon('signal', 'counter', 'tripped', 'trip', '--wait', 'applied')
    expect(errorLine(refused)).toMatch(/^error SUSPENDED: .*the handler is broken/)
    expect(refused.code).toBe(1)
    await output('signal', 'counter', 'tripped', 'add', '{"n": 2}')
    expect(await output('list', '--status', 'suspended')).toMatch(/^counter +tripped +suspended /m)
    expect(await output('describe', 'counter', 'tripped')).toMatch(/^suspended +at seq \d+: .*the handler is broken$/m)

    expect((await node.stop()).code).toBe(0)
    node = await startNode({ TEST_BROKEN: '0' })
    expect(await output('resume', 'counter', 'tripped', '--wait', 'applied')).toMatch(/^applied at seq /)
    expect(await json('query', 'counter', 'tripped', 'total')).toBe(1003)
  })
})
