/** The recorded feed: one JSON object a line. Producers read it; what it repeats, they send again. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

import { z } from 'zod'

const common = { orderId: z.string(), customer: z.string() }

const FeedEvent = z.discriminatedUnion('type', [
  z.object({ ...common, type: z.literal('purchase'), amountCents: z.number() }),
  z.object({ ...common, type: z.literal('return'), amountCents: z.number() }),
  z.object({ ...common, type: z.literal('redeem'), points: z.number() }),
])

export type FeedEvent = z.infer<typeof FeedEvent>

/** Reads a feed line by line. @throws when a line is not an event; the message names the line. */
export async function* readFeed(path: string): AsyncGenerator<FeedEvent> {
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Infinity })
  let number = 0
  for await (const line of lines) {
    number += 1
    if (line.trim() !== '') yield parseLine(line, `${path}:${number}`)
  }
}

function parseLine(line: string, where: string): FeedEvent {
  try {
    return FeedEvent.parse(JSON.parse(line))
  } catch (error) {
    throw new Error(`${where} is not an event of the feed: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}
