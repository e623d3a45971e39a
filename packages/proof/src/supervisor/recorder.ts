/** Dumps the journal and the dead letters to files, as a plain JetStream client sees them. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { type JetStreamManager, jetstreamManager, type StoredMsg } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'

import { type DumpedMessage, FILES } from '../histories.ts'
import { LineFile } from '../processes/line-file.ts'

const PAGE = 1000
const EVERY_MS = 150
const RETRY_MS = 100

interface Dump {
  readonly stream: string
  readonly file: LineFile
  nextSeq: number
}

export class Recorder {
  readonly #manager: JetStreamManager
  readonly #journal: Dump
  readonly #dead: Dump
  readonly #running: Promise<void>
  #isClosed = false
  #isTrimmed = false
  #reading: Promise<void> = Promise.resolve()

  private constructor(manager: JetStreamManager, namespace: string, folder: string) {
    this.#manager = manager
    this.#journal = { stream: `${namespace}-log`, file: new LineFile(join(folder, FILES.journal)), nextSeq: 1 }
    this.#dead = { stream: `${namespace}-dead`, file: new LineFile(join(folder, FILES.dead)), nextSeq: 1 }
    this.#running = this.#run()
  }

  static async open(nc: NatsConnection, namespace: string, folder: string): Promise<Recorder> {
    return new Recorder(await jetstreamManager(nc, { checkAPI: false }), namespace, folder)
  }

  /** The journal does not begin with its first input any more. */
  get isTrimmed(): boolean {
    return this.#isTrimmed
  }

  /** Everything that the streams hold now is in the files. Gives the last sequence of the journal. Rejects when JetStream does not answer. */
  async catchUp(): Promise<number> {
    await this.#readAll()
    return this.#journal.nextSeq - 1
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#running
    await this.#journal.file.close()
    await this.#dead.file.close()
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      // While servers are down there is nothing to read; the next time there is.
      await this.#readAll().catch(() => undefined)
      await delay(EVERY_MS)
    }
  }

  /** One reading at a time; each sees what was stored when it was asked for. */
  #readAll(): Promise<void> {
    const reading = this.#reading.then(async () => {
      for (const dump of [this.#journal, this.#dead]) await this.#read(dump)
    })
    this.#reading = reading.catch(() => undefined)
    return reading
  }

  async #read(dump: Dump): Promise<void> {
    const { first_seq: firstSeq, last_seq: lastSeq } = (await this.#manager.streams.info(dump.stream)).state
    if (firstSeq > dump.nextSeq && lastSeq >= firstSeq)
      throw new Error(`${dump.stream} was trimmed to ${firstSeq} before ${dump.nextSeq} was dumped: keep more history`)
    this.#isTrimmed ||= dump === this.#journal && firstSeq > 1
    while (dump.nextSeq <= lastSeq) {
      const before = dump.nextSeq
      const page = await this.#manager.direct.getBatch(dump.stream, { seq: before, batch: PAGE })
      for await (const message of page) {
        // A replica that is behind: it has the rest in a moment.
        if (message.seq !== dump.nextSeq) break
        dump.file.write(dumped(message))
        dump.nextSeq += 1
      }
      if (dump.nextSeq === before) await delay(RETRY_MS)
    }
    await dump.file.flush()
  }
}

function dumped({ seq, timestamp, subject, data, header }: StoredMsg): DumpedMessage {
  const headers = Object.fromEntries([...(header ?? [])].map(([name, [first = '']]) => [name, first]))
  return { seq, timeMs: Date.parse(timestamp), subject, headers, payload: Buffer.from(data).toString('base64') }
}
