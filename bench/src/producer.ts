/** The producer process: bare JetStream publishes, or the same signals through the client. */
import { connect, type Carillon, type SignalItem } from '@carillon/client'
import { encodeToken, encodeValue, HEADERS, Subjects } from '@carillon/runtime/protocol'
import { connect as connectNats, headers, type NatsConnection } from '@nats-io/transport-node'

import type { Command, Load } from './bench-types.ts'
import { Counter, Endless, purchase, Renewing, Sleeper } from './bench-workflow.ts'
import { serveCommands } from './ipc.ts'

/** As the client's own default, so that both fill the same pipe. */
const IN_FLIGHT = 2048
const PARTITIONS = 64
const ECHO_TIMEOUT_MS = 5000

interface Session {
  readonly nc: NatsConnection
  readonly carillon: Carillon
  readonly subjects: Subjects
}

let session: Session | undefined

serveCommands(async (command: Command) => {
  switch (command.do) {
    case 'connect':
      await session?.nc.close()
      await session?.carillon.close()
      session = {
        nc: await connectNats({ servers: command.servers }),
        carillon: await connect({ servers: command.servers, namespace: command.namespace }),
        subjects: new Subjects(command.namespace, PARTITIONS),
      }
      return undefined
    case 'produce':
      return command.how === 'raw' ? produceRaw(command.load) : produceByClient(command.name, command.load)
    case 'sleep':
      await connected().carillon.signalMany(sleepers(command.instances, command.timersEach))
      return undefined
    case 'flood':
      await connected().carillon.signalMany(flood(command))
      return undefined
    case 'state':
      return connected()
        .carillon.workflow(FLOODED[command.way], 'flooded')
        .query('state', undefined, { timeoutMs: REBUILD_MS_MAX })
    case 'ping':
      return command.how === 'raw' ? pingRaw(command) : pingByClient(command)
    default:
      throw new Error(`the producer does not know ${command.do}`)
  }
})

function connected(): Session {
  if (session === undefined) throw new Error('the producer is told to connect first')
  return session
}

/** An instance whose run waits is rebuilt from its tail, before it answers for the first time. */
const REBUILD_MS_MAX = 600_000
const FLOODED = { handlers: Counter, renewing: Renewing, endless: Endless } as const

function* flood({ way, from, count }: Extract<Command, { readonly do: 'flood' }>): Generator<SignalItem> {
  const contract = FLOODED[way]
  for (let i = from; i < from + count; i++)
    yield { workflow: contract, id: 'flooded', name: 'count', payload: purchase(i) }
}

function subjectOf({ prefix, instances }: Pick<Load, 'prefix' | 'instances'>, i: number): string {
  return connected().subjects.log(
    encodeToken('counter'),
    encodeToken(`${prefix}-${i % instances}`),
    'signal',
    encodeToken('count'),
  )
}

/** The cheapest publish that still knows what was stored: a window of publishes, acks counted on one inbox. */
async function produceRaw(load: Load): Promise<number> {
  const { nc } = connected()
  const inbox = `_INBOX.${Math.random().toString(36).slice(2)}`
  let sent = 0
  let acked = 0
  const started = performance.now()
  await new Promise<void>((resolve, reject) => {
    const more = (): void => {
      while (sent < load.signals && sent - acked < IN_FLIGHT) {
        nc.publish(subjectOf(load, sent), encodeValue(purchase(sent)), {
          reply: `${inbox}.${sent}`,
          headers: rawHeaders(sent),
        })
        sent += 1
      }
    }
    const subscription = nc.subscribe(`${inbox}.*`, {
      callback: (error, message) => {
        if (error !== null || message.data[2] === 'e'.charCodeAt(0)) return reject(error ?? new Error(message.string()))
        acked += 1
        if (acked === load.signals) {
          subscription.unsubscribe()
          resolve()
        } else if (sent - acked < IN_FLIGHT / 2) more()
      },
    })
    more()
  })
  return performance.now() - started
}

function rawHeaders(i: number): ReturnType<typeof headers> {
  const hdrs = headers()
  hdrs.set(HEADERS.id, `raw-${i}`)
  hdrs.set(HEADERS.encoding, 'msgpack')
  return hdrs
}

async function produceByClient(name: 'count' | 'work', load: Load): Promise<number> {
  const started = performance.now()
  await connected().carillon.signalMany(signals(name, load), { inFlightMax: IN_FLIGHT })
  return performance.now() - started
}

function* signals(
  name: 'count' | 'work',
  { prefix, instances, signals: count }: Load,
): Generator<{ workflow: typeof Counter; id: string; name: 'count' | 'work'; payload: ReturnType<typeof purchase> }> {
  for (let i = 0; i < count; i++)
    yield { workflow: Counter, id: `${prefix}-${i % instances}`, name, payload: purchase(i) }
}

function* sleepers(instances: number, timers: number): Generator<SignalItem<typeof Sleeper>> {
  for (let i = 0; i < instances; i++)
    yield { workflow: Sleeper, id: `sleeper-${i}`, name: 'sleep', payload: { timers } }
}

type Ping = Command & { readonly do: 'ping' }

/** From a publish to the echo of the consumer, in milliseconds. */
async function pingRaw(ping: Ping): Promise<number[]> {
  const { nc } = connected()
  const inbox = `_INBOX.${Math.random().toString(36).slice(2)}`
  const sentAt: number[] = []
  const took: number[] = []
  const subscription = nc.subscribe(`${inbox}.*`, {
    callback: (_, message) =>
      void took.push(performance.now() - (sentAt[Number(message.subject.slice(inbox.length + 1))] ?? 0)),
  })
  await paced(ping, (i) => {
    sentAt[i] = performance.now()
    const hdrs = rawHeaders(i)
    hdrs.set(HEADERS.reply, `${inbox}.${i}`)
    nc.publish(subjectOf({ prefix: ping.prefix, instances: 100 }, i), encodeValue(purchase(i)), {
      headers: hdrs,
      reply: '_INBOX.nobody',
    })
  })
  const deadline = performance.now() + ECHO_TIMEOUT_MS
  while (took.length < ping.count && performance.now() < deadline) await pause(10)
  subscription.unsubscribe()
  return took
}

/** From the call to `applied`, in milliseconds. */
async function pingByClient(ping: Ping): Promise<number[]> {
  const took: number[] = []
  const running: Promise<void>[] = []
  await paced(ping, (i) => {
    const started = performance.now()
    const sent = connected()
      .carillon.workflow(Counter, `${ping.prefix}-${i % 100}`)
      .signal('count', purchase(i), { wait: 'applied' })
    running.push(sent.then(() => void took.push(performance.now() - started)))
  })
  await Promise.all(running)
  return took
}

async function paced({ perSecond, count }: Ping, send: (i: number) => void): Promise<void> {
  const started = performance.now()
  for (let i = 0; i < count; i++) {
    const wait = started + (i * 1000) / perSecond - performance.now()
    if (wait > 0) await pause(wait)
    send(i)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
