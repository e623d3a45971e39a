// Takes nats-server out of a newer Debian suite: apt fetches and verifies the package from the machine's own
// mirror, dpkg-deb unpacks it. Nothing is installed and nothing of the system's apt state is read or written.

import { execFile } from 'node:child_process'
import { access, mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { debianMirrors, parseSources } from './apt-sources.mjs'

const run = promisify(execFile)

/** Newer than every stable release, in the order of trust: testing's code name first, then unstable. */
const SUITES = ['forky', 'sid']
const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg']
const SOURCES_FILE = '/etc/apt/sources.list'
const SOURCES_FOLDER = '/etc/apt/sources.list.d'
const APT_TIMEOUT_MS = 240_000
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024

/**
 * @param {{ work: string, log: (line: string) => void }} options `work` is an empty private folder
 * @returns {Promise<string>} the path of the unpacked binary, inside `work`
 */
export async function downloadFromApt({ work, log }) {
  for (const tool of ['apt-get', 'dpkg-deb']) {
    await run(tool, ['--version']).catch(() => fail(`${tool} is not on this machine`))
  }
  const mirrors = debianMirrors(await readSources(), await codename())
  if (mirrors.length === 0) fail('the sources of this machine name no Debian mirror')

  const failures = []
  for (const mirror of mirrors) {
    for (const suite of SUITES) {
      try {
        log(`downloading nats-server from the Debian suite ${suite}`)
        return await downloadFrom(mirror, suite, join(work, `apt-${failures.length}`))
      } catch (error) {
        failures.push(`${suite}: ${lastLine(error.stderr) ?? error.message}`)
      }
    }
  }
  return fail(failures.join('; '))
}

async function downloadFrom(mirror, suite, folder) {
  const config = await writePrivateState(folder, mirror, suite)
  const apt = (...args) =>
    run('apt-get', ['-q', '-c', config, ...args], {
      cwd: folder,
      env: { ...process.env, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' },
      timeout: APT_TIMEOUT_MS,
      maxBuffer: OUTPUT_BYTES_MAX,
    })
  await apt('update')
  await apt('download', 'nats-server')
  const archive = (await readdir(folder)).find((name) => name.endsWith('.deb'))
  if (!archive) throw new Error('apt-get download left no package behind')
  await run('dpkg-deb', ['-x', join(folder, archive), join(folder, 'root')])
  return findBinary(join(folder, 'root'))
}

/** A configuration that moves every file apt reads or writes into `folder`; the system's proxy settings still hold. */
async function writePrivateState(folder, mirror, suite) {
  const state = join(folder, 'state')
  const cache = join(folder, 'cache')
  await mkdir(join(state, 'lists', 'partial'), { recursive: true })
  await mkdir(join(cache, 'archives', 'partial'), { recursive: true })
  await writeFile(join(state, 'status'), '')

  const sources = join(folder, 'newer.sources')
  const keyring = await findKeyring(mirror)
  await writeFile(
    sources,
    `Types: deb\nURIs: ${mirror.uri}\nSuites: ${suite}\nComponents: main\nSigned-By: ${keyring}\n`,
  )

  const config = join(folder, 'apt.conf')
  const settings = {
    'Dir::State': state,
    'Dir::State::lists': join(state, 'lists'),
    'Dir::State::status': join(state, 'status'),
    'Dir::Cache': cache,
    'Dir::Cache::archives': join(cache, 'archives'),
    'Dir::Etc::sourcelist': sources,
    'Dir::Etc::sourceparts': '-',
    'Dir::Etc::preferences': '-',
    'Dir::Etc::preferencesparts': '-',
    'Acquire::Languages': 'none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
    'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled': 'false',
    'Acquire::Retries': '3',
    'Acquire::http::Timeout': '30',
    'Acquire::https::Timeout': '30',
    // Only root is asked to step down to another user, who could not write into a private folder.
    'APT::Sandbox::User': 'root',
  }
  // The system's own hooks would clean up the system's own cache.
  const cleared = ['APT::Update::Pre-Invoke', 'APT::Update::Post-Invoke', 'APT::Update::Post-Invoke-Success']
  await writeFile(
    config,
    [
      ...cleared.map((name) => `#clear ${name};`),
      ...Object.entries(settings).map(([name, value]) => `${name} ${JSON.stringify(value)};`),
      '',
    ].join('\n'),
  )
  return config
}

async function readSources() {
  const names = await readdir(SOURCES_FOLDER).catch(() => [])
  const parts = names.filter((name) => /\.(sources|list)$/.test(name)).map((name) => join(SOURCES_FOLDER, name))
  const entries = []
  for (const path of [SOURCES_FILE, ...parts.sort()]) {
    const text = await readFile(path, 'utf8').catch(() => '')
    entries.push(...parseSources(basename(path), text))
  }
  return entries
}

async function codename() {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return /^VERSION_CODENAME="?([\w-]+)"?$/m.exec(text)?.[1]
}

async function findKeyring({ signedBy }) {
  for (const path of signedBy === undefined ? KEYRINGS : [signedBy, ...KEYRINGS]) {
    const isThere = await access(path).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  return fail('the keyring of the Debian archive is missing (package debian-archive-keyring)')
}

async function findBinary(root) {
  for (const folder of ['usr/sbin', 'usr/bin']) {
    const names = await readdir(join(root, folder)).catch(() => [])
    if (names.includes('nats-server')) return join(root, folder, 'nats-server')
  }
  throw new Error('the package holds no nats-server binary')
}

function lastLine(text) {
  return text?.trim().split('\n').at(-1) || undefined
}

function fail(reason) {
  throw new Error(`apt: ${reason}`)
}
