/** What the tests of this example share. */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

import type { NodeOptions } from '@carillon/node'

export const FEED_PATH = fileURLToPath(new URL('../../loyalty/feed.ndjson', import.meta.url))

export const silentLogger: NodeOptions['logger'] = { debug() {}, info() {}, warn() {}, error() {} }

/** The first lines of the recorded feed, as text. */
export async function firstLines(count: number): Promise<string> {
  const text = await readFile(FEED_PATH, 'utf8')
  return `${text.split('\n').slice(0, count).join('\n')}\n`
}

export function writeFeed(path: string, text: string): Promise<void> {
  return writeFile(path, text)
}
