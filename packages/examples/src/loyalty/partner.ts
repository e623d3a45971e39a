/**
 * The partner: a system of somebody else that is told of levels and statements. Here it is a file.
 *
 * Owns: the open file. Whatever is delivered is appended; nothing is ever changed.
 * Does not own: the decision what counts. That is the reader's: the first delivery of a key counts, repeats are dropped.
 *
 * Invariants
 * 1. When `deliver` resolves, the line is in the file, whole.
 * 2. A line torn by a crash is never joined with the next one: each delivery begins on a line of its own.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

/** One message to the partner. `key` is the idempotency key: the same for every attempt of one call. */
export interface Delivery {
  readonly key: string
  readonly customer: string
  readonly kind: 'level' | 'statement'
  readonly body: unknown
}

export interface Partner {
  deliver(delivery: Delivery, signal: AbortSignal): Promise<void>
}

export interface FilePartnerOptions {
  readonly path: string
  /** How long the partner takes to answer once it has the message, milliseconds, as a system across a network does. Default 0. */
  readonly answerMs?: number
}

export class FilePartner implements Partner {
  readonly #file: FileHandle
  readonly #answerMs: number

  private constructor(file: FileHandle, answerMs: number) {
    this.#file = file
    this.#answerMs = answerMs
  }

  static async open({ path, answerMs = 0 }: FilePartnerOptions): Promise<FilePartner> {
    return new FilePartner(await open(path, 'a'), answerMs)
  }

  async deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    // One write: with O_APPEND, deliveries that overlap do not mix. The line feed in front keeps invariant 2.
    await this.#file.appendFile(`\n${JSON.stringify(delivery)}`)
    if (this.#answerMs > 0) await delay(this.#answerMs, undefined, { signal })
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

export interface PartnerBook {
  /** What the partner acts upon: the first delivery of each key, in their order. */
  readonly accepted: readonly Delivery[]
  /** Deliveries whose key had come before, dropped. */
  readonly repeated: number
  /** Lines that a crash cut short: never acknowledged, so they came again. */
  readonly torn: number
}

/** Reads the file as the partner does. */
export async function readPartner(path: string): Promise<PartnerBook> {
  const byKey = new Map<string, Delivery>()
  let repeated = 0
  let torn = 0
  for (const line of (await readFile(path, 'utf8')).split('\n')) {
    if (line === '') continue
    const delivery = parseDelivery(line)
    if (delivery === undefined) torn += 1
    else if (byKey.has(delivery.key)) repeated += 1
    else byKey.set(delivery.key, delivery)
  }
  return { accepted: [...byKey.values()], repeated, torn }
}

function parseDelivery(line: string): Delivery | undefined {
  try {
    return JSON.parse(line) as Delivery
  } catch {
    return undefined
  }
}
