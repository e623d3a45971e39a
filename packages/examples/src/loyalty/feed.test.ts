import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { expect, it } from 'vitest'

import { computeExpected } from './expected.ts'
import { type FeedEvent, readFeed } from './feed.ts'
import { FEED_PATH, writeFeed } from './testing.ts'

const run = promisify(execFile)

it('is made anew by its generator, to the byte', async () => {
  const generator = fileURLToPath(new URL('generate-feed.ts', import.meta.url))
  const { stdout } = await run(process.execPath, ['--import', 'tsx', generator], { maxBuffer: 4 * 1024 * 1024 })
  expect(stdout === (await readFile(FEED_PATH, 'utf8'))).toBe(true)
})

it('holds what a feed holds: many lines, repeats near and far, returns, redemptions', async () => {
  const events: FeedEvent[] = []
  for await (const event of readFeed(FEED_PATH)) events.push(event)
  const { lines, repeats, customers, redemptions } = computeExpected(await readFile(FEED_PATH, 'utf8'))
  expect(events).toHaveLength(lines)
  expect(lines).toBeGreaterThan(5000)
  expect(customers.size).toBe(500)
  expect(repeats / lines).toBeGreaterThan(0.03)
  const firsts = new Map<string, number>()
  const distances = events.flatMap(({ orderId }, i) => {
    const first = firsts.get(orderId) ?? i
    firsts.set(orderId, first)
    return first === i ? [] : [i - first]
  })
  expect(distances).toContain(1)
  expect(Math.max(...distances)).toBeGreaterThan(1000)
  expect([...redemptions.values()].filter((left) => left === 'refused').length).toBeGreaterThan(10)
  expect(events.filter(({ type }) => type === 'return').length).toBeGreaterThan(100)
})

it('names the line that is not an event', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'carillon-feed-'))
  const path = join(folder, 'feed.ndjson')
  await writeFeed(path, '{"orderId":"o1","customer":"ann","type":"purchase","amountCents":5}\n{"orderId":"o2"}\n')
  const read = async (): Promise<void> => {
    for await (const event of readFeed(path)) expect(event.orderId).toBe('o1')
  }
  await expect(read()).rejects.toThrow(`${path}:2 is not an event`)
  await rm(folder, { recursive: true })
})
