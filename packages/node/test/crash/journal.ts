/** The log stream as a plain JetStream client sees it. */
import { jetstreamManager, type StoredMsg } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'

import type { JournalMessage } from '../../../proof/src/reference/fold-input.ts'

export type { JournalMessage }

const PAGE = 2000

/** Every message of a stream from a sequence on, in order. */
export async function readStream(nc: NatsConnection, stream: string, fromSeq = 1): Promise<JournalMessage[]> {
  const jsm = await jetstreamManager(nc)
  const lastSeq = (await jsm.streams.info(stream)).state.last_seq
  const messages: JournalMessage[] = []
  for (let next = fromSeq; next <= lastSeq;) {
    const page = await jsm.direct.getBatch(stream, { seq: next, batch: PAGE })
    for await (const message of page) {
      if (message.seq !== next) throw new Error(`${stream} lacks ${next}: ${message.seq} came`)
      messages.push(journalMessage(message))
      next += 1
    }
  }
  return messages
}

function journalMessage({ seq, timestamp, subject, data, header }: StoredMsg): JournalMessage {
  const find = (name: string): string | undefined =>
    header !== undefined && header.has(name) ? header.get(name) : undefined
  return { seq, timeMs: Date.parse(timestamp), subject, payload: data, header: find }
}
