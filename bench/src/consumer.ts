/** The consumer process: a bare ordered consume of the journal, or a node. */
import { connect } from '@carillon/client'
import { type CarillonNode, JetStreamLog, openNode } from '@carillon/node'
import { type LogReader, silentLogger } from '@carillon/runtime/ports'
import { HEADERS, type Partition, Subjects } from '@carillon/runtime/protocol'
import { connect as connectNats } from '@nats-io/transport-node'

import type { Command } from './bench-types.ts'
import { Counter, counter, counterActivities, purchase, receivers, sleeper } from './bench-workflow.ts'
import { serveCommands } from './ipc.ts'

const PARTITIONS = 64
const LOOK_EVERY_MS = 2
const WAIT_MS_MAX = 300_000

let raw: { readonly reader: LogReader; readonly close: () => Promise<void> } | undefined
let node: CarillonNode | undefined
let servers = ''
let namespace = ''
let consumed = 0
let marked = 0

serveCommands(async (command: Command) => {
  switch (command.do) {
    case 'connect':
      ;({ servers, namespace } = command)
      return undefined
    case 'consume':
      raw = await consumeRaw()
      return undefined
    case 'stop-consuming':
      await raw?.reader.close()
      return raw?.close()
    case 'open-node':
      node = await openNode({
        ...command,
        workflows: { implementations: [counter, sleeper, ...receivers], activities: [counterActivities] },
        logger:
          process.env['CARILLON_BENCH_LOG'] === undefined
            ? silentLogger
            : { ...silentLogger, warn: console.error, error: console.error },
        limits: { residentsMax: command.residentsMax },
      })
      ;({ servers, namespace } = command)
      await node.caughtUp
      return undefined
    case 'close-node':
      await node?.close()
      node = undefined
      return undefined
    case 'mark':
      marked = done()
      return undefined
    case 'await':
      return waitFor(command.count)
    case 'probe':
      return probe(command.id)
    case 'memory':
      globalThis.gc?.()
      return { ...process.memoryUsage(), residents: node?.residents ?? 0 }
    default:
      throw new Error(`the consumer does not know ${command.do}`)
  }
})

function done(): number {
  return raw === undefined ? (node?.counts.applied ?? 0) : consumed
}

/** Every message of the journal in order, counted; echoed when it asks for a reply. */
async function consumeRaw(): Promise<typeof raw> {
  const nc = await connectNats({ servers })
  const log = new JetStreamLog(nc, new Subjects(namespace, PARTITIONS))
  const { lastSeq } = await log.bounds()
  const reader = log.read({
    partitions: Array.from({ length: PARTITIONS }, (_, number) => number as Partition),
    fromSeq: lastSeq + 1,
    onMessages: async (messages) => {
      for (const message of messages) {
        const reply = message.header(HEADERS.reply)
        if (reply !== undefined) nc.publish(reply)
      }
      consumed += messages.length
    },
    onFailed: (error) => {
      throw error
    },
  })
  const close = async (): Promise<void> => {
    await log.close()
    await nc.close()
  }
  return { reader, close }
}

async function waitFor(count: number): Promise<void> {
  const deadline = performance.now() + WAIT_MS_MAX
  while (done() - marked < count) {
    if (performance.now() > deadline) throw new Error(`${done() - marked} of ${count} inputs after ${WAIT_MS_MAX} ms`)
    await new Promise((resolve) => void setTimeout(resolve, LOOK_EVERY_MS))
  }
}

/** A signal through a fresh client of this process, until it is applied. */
async function probe(id: string): Promise<void> {
  const client = await connect({ servers, namespace })
  await client.workflow(Counter, id).signal('count', purchase(0), { wait: 'applied' })
  await client.close()
}
