/**
 * Publishes to JetStream in three ways and prints the ratios: the stock `js.publish`, Carillon's publisher over many
 * keys, and over one.
 *
 *   pnpm exec tsx --conditions=source bench/src/publish.ts [seconds per case, default 3] [payload bytes, default 100]
 *
 * Server and client share this machine; compare ratios, not rates.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { PipelinedPublisher } from '@carillon/client'
import { openNatsProcess } from '@carillon/node'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'

import { provideNatsServer } from '../../scripts/nats-server.mjs'

const STREAM = 'bench'
const KEYS = 1000
const IN_FLIGHT = 1024

interface Result {
  readonly name: string
  readonly perSecond: number
  /** Client CPU of one message, microseconds. */
  readonly cpuMicros: number
}

type Publish = (i: number) => Promise<unknown>

const seconds = Number(process.argv[2] ?? 3)
const payload = new Uint8Array(Number(process.argv[3] ?? 100))

await run()

async function run(): Promise<void> {
  const { path, version } = await provideNatsServer()
  const storeDir = await mkdtemp(join(tmpdir(), 'carillon-bench-'))
  const server = await openNatsProcess({ path, storeDir })
  try {
    const nc = await connect({ servers: server.url })
    console.log(
      `nats-server ${version}, ${payload.length} B payloads, one id header, ${IN_FLIGHT} in flight, ${seconds} s each`,
    )
    report(await measureAll(nc))
    await nc.close()
  } finally {
    await server.kill9()
    await rm(storeDir, { recursive: true, force: true })
  }
}

async function measureAll(nc: NatsConnection): Promise<Result[]> {
  const jsm = await jetstreamManager(nc)
  const fresh = async (): Promise<void> => {
    await jsm.streams.delete(STREAM).catch(() => undefined)
    await jsm.streams.add({ name: STREAM, subjects: ['bench.log.>'], allow_atomic: true })
  }
  const results: Result[] = []
  await fresh()
  const js = jetstream(nc)
  results.push(await measure('js.publish', stockPublish(js)))
  for (const [name, keys] of [
    ['pipelined, 1000 keys', KEYS],
    ['pipelined, one key (atomic batches)', 1],
  ] as const) {
    await fresh()
    const publisher = new PipelinedPublisher(nc, { inFlightMax: IN_FLIGHT })
    results.push(
      await measure(name, (i) =>
        publisher.publish({
          subject: subjectOf(i % keys),
          key: String(i % keys),
          headers: { 'Carillon-Id': `id-${i}` },
          payload,
        }),
      ),
    )
    await publisher.close()
  }
  return results
}

function stockPublish(js: ReturnType<typeof jetstream>): Publish {
  return (i) => {
    const hdrs = headers()
    hdrs.set('Carillon-Id', `id-${i}`)
    return js.publish(subjectOf(i % KEYS), payload, { headers: hdrs })
  }
}

/** Keeps a fixed number of publishes going until the time is over. */
async function measure(name: string, publish: Publish): Promise<Result> {
  let next = 0
  let until = performance.now() + 500
  const worker = async (): Promise<void> => {
    while (performance.now() < until) await publish(next++)
  }
  const workers = async (): Promise<void> => void (await Promise.all(Array.from({ length: IN_FLIGHT }, worker)))
  await workers()
  next = 0
  const startedAt = performance.now()
  const cpu = process.cpuUsage()
  until = startedAt + seconds * 1000
  await workers()
  const tookMs = performance.now() - startedAt
  const { user, system } = process.cpuUsage(cpu)
  return { name, perSecond: (next / tookMs) * 1000, cpuMicros: (user + system) / next }
}

function subjectOf(key: number): string {
  return `bench.log.${key % 64}.order.${key}.signal.pay`
}

function report(results: readonly Result[]): void {
  const base = results[0]?.perSecond ?? 1
  for (const { name, perSecond, cpuMicros } of results) {
    const rate = `${Math.round(perSecond).toLocaleString('en-US')}/s`
    console.log(
      `${name.padEnd(38)} ${rate.padStart(12)}  ${(perSecond / base).toFixed(1).padStart(5)}x  ${cpuMicros.toFixed(1).padStart(6)} µs client CPU each`,
    )
  }
}
