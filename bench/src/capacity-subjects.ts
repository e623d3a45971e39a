/** What many instances in the journal cost a server: memory of its index of subjects, and how long trimming holds up its publishers. */
import type { Carillon } from '@carillon/client'
import type { NatsMember } from '@carillon/node'
import { jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'

import { Counter, purchase } from './bench-workflow.ts'
import { residentBytes } from './process-use.ts'

export interface SubjectFigures {
  readonly subjects: number
  /** Memory of the server that each of them takes, with its one message. */
  readonly memoryBytes: number
  readonly purgeMs: number
  /** Between two acknowledgements while that ran. */
  readonly longestGapMs: number
}

const PROBE_EVERY_MS = 2
const SETTLE_MS = 2000

/** One signal to each of so many new instances; then all but the last tenth is trimmed, as it is behind a checkpoint. */
export async function measureSubjects(
  nc: NatsConnection,
  carillon: Carillon,
  server: NatsMember,
  stream: string,
  count: number,
): Promise<SubjectFigures> {
  const jsm = await jetstreamManager(nc, { timeout: 60_000 })
  const beforeBytes = residentBytes(server.pid)
  await carillon.signalMany(oneEach(count))
  await pause(SETTLE_MS)
  const memoryBytes = (residentBytes(server.pid) - beforeBytes) / count
  const { state } = await jsm.streams.info(stream)
  const gap = watchGap(carillon)
  const beganMs = performance.now()
  await jsm.streams.purge(stream, { seq: state.last_seq - Math.floor(count / 10) })
  const purgeMs = performance.now() - beganMs
  return { subjects: count, memoryBytes, purgeMs, longestGapMs: await gap.stop() }
}

function watchGap(carillon: Carillon): { stop(): Promise<number> } {
  let lastMs = performance.now()
  let longestMs = 0
  const acked = (): void => {
    const nowMs = performance.now()
    longestMs = Math.max(longestMs, nowMs - lastMs)
    lastMs = nowMs
  }
  const underWay: Promise<void>[] = []
  const timer = setInterval(() => {
    underWay.push(
      carillon
        .workflow(Counter, `probe-${underWay.length % 100}`)
        .signal('count', purchase(0))
        .then(acked),
    )
  }, PROBE_EVERY_MS)
  return {
    async stop() {
      clearInterval(timer)
      await Promise.all(underWay)
      return longestMs
    },
  }
}

function* oneEach(
  count: number,
): Generator<{ workflow: typeof Counter; id: string; name: 'count'; payload: ReturnType<typeof purchase> }> {
  for (let i = 0; i < count; i++) yield { workflow: Counter, id: `once-${i}`, name: 'count', payload: purchase(i) }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
