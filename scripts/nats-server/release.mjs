// Takes nats-server out of the project's own release archive, checked against a pinned digest.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const VERSION = '2.15.0'
/** SHA-256 of the archives, as published in the release's SHA256SUMS. Change the version and all of them together. */
const DIGESTS = {
  'linux-amd64': '5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92',
  'linux-arm64': 'cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112',
  'darwin-amd64': '5bd8b59ca5bf93fab3da2c5843cf564cd6e2e291e22ae3b861746e7ebe259b95',
  'darwin-arm64': 'e1c4e22d70bd44abfa0bcb3c16f7cf0c66f648c2e728c58924e8a1ce88913cc8',
}
const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' }
const DOWNLOAD_TIMEOUT_MS = 120_000

/**
 * @param {{ work: string, log: (line: string) => void }} options `work` is a private folder
 * @returns {Promise<string>} the path of the unpacked binary, inside `work`
 */
export async function downloadRelease({ work, log }) {
  const platform = `${process.platform}-${ARCHITECTURES[process.arch] ?? process.arch}`
  const digest = DIGESTS[platform]
  if (!digest) fail(`no archive is pinned for ${platform}`)

  const name = `nats-server-v${VERSION}-${platform}`
  const url = `https://github.com/nats-io/nats-server/releases/download/v${VERSION}/${name}.tar.gz`
  const archive = join(work, `${name}.tar.gz`)
  log(`downloading ${url}`)
  await fetchTo(archive, url)

  const actual = createHash('sha256')
    .update(await readFile(archive))
    .digest('hex')
  if (actual !== digest) fail(`${url} has SHA-256 ${actual}, but ${digest} is pinned`)
  await run('tar', ['-xzf', archive, '-C', work])
  return join(work, name, 'nats-server')
}

/** curl first, because it honours the proxy settings of the environment; fetch where there is no curl. */
async function fetchTo(path, url) {
  const seconds = String(DOWNLOAD_TIMEOUT_MS / 1000)
  try {
    await run('curl', ['-fsSL', '--retry', '2', '--max-time', seconds, '-o', path, url])
  } catch (error) {
    if (error.code !== 'ENOENT') fail(`${url}: ${error.stderr?.trim() || error.message}`)
    await fetchWithNode(path, url)
  }
}

async function fetchWithNode(path, url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) })
    if (!response.ok) throw new Error(`the answer was ${response.status}`)
    await writeFile(path, Buffer.from(await response.arrayBuffer()))
  } catch (error) {
    fail(`${url}: ${error.cause?.message ?? error.message}`)
  }
}

function fail(reason) {
  throw new Error(`release archive: ${reason}`)
}
