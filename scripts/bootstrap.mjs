// Makes a fresh clone ready to run: dependencies, a nats-server, the build. What is in place already is skipped.

import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { provideNatsServer } from './nats-server.mjs'
import { ROOT, runProgram } from './program.mjs'
import { step } from './step.mjs'

const NODE_MIN = [20, 20]
const PNPM = 'pnpm@10.34.9'
/** Tells for which lockfile and which Node ABI the dependencies were installed. */
const INSTALL_MARK = join(ROOT, 'node_modules', '.carillon-installed')

/** @returns {string | undefined} what is wrong with this Node, if anything */
export function nodeProblem(version = process.versions.node) {
  const [major, minor] = version.split('.').map(Number)
  const isEnough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])
  return isEnough ? undefined : `Carillon needs Node.js ${NODE_MIN.join('.')} or newer; this is ${version}.`
}

/** Installs the dependencies exactly as locked, unless that has been done. */
export async function installDependencies(signal) {
  const wanted = await installFingerprint()
  if ((await readFile(INSTALL_MARK, 'utf8').catch(() => '')) === wanted) return true
  return step('install', async () => {
    const args = [
      '--yes',
      PNPM,
      'install',
      '--frozen-lockfile',
      '--prefer-offline',
      '--config.confirmModulesPurge=false',
    ]
    const result = await runProgram('npx', args, { signal, capture: true })
    if (result.ok) await writeFile(INSTALL_MARK, wanted)
    return result
  })
}

/** Provides a nats-server and names it in `env`, where the children look for it. */
export async function installNatsServer(env) {
  return step('nats-server', async () => {
    const { path, version } = await provideNatsServer()
    env['CARILLON_NATS_SERVER'] = path
    return { ok: true, note: version }
  })
}

export async function build(signal) {
  return step('build', () => runProgram(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-b'], { signal, capture: true }))
}

async function installFingerprint() {
  const lockfile = await readFile(join(ROOT, 'pnpm-lock.yaml'))
  const digest = createHash('sha256').update(lockfile).digest('hex')
  return `${digest} ${process.platform}-${process.arch} abi-${process.versions.modules}\n`
}
