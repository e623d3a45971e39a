/**
 * One example by one command: `npm run example <name> [-- arguments of its producer]`.
 *
 * Runs what a reader would run in two terminals: `carillon dev` with the workflows of the example, here in a temporary folder and on free ports, then
 * its producer, which fails unless all came out as it must.
 *
 * Exit code: that of the producer; 2 for an unknown example; 130 when it was stopped.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

import { freePort } from '@carillon/node'

import { type DevProcess, startDev } from './dev-process.ts'
import { type Example, exampleNames, findExample } from './examples.ts'
import { NodeLog } from './node-log.ts'

const USAGE = 2
const STOPPED = 130

process.exitCode = await main(process.argv.slice(2))

async function main([name = '', ...args]: readonly string[]): Promise<number> {
  const example = findExample(name)
  if (example === undefined) {
    console.error(`Usage: npm run example <name>, where the name is one of: ${exampleNames().join(', ')}`)
    return USAGE
  }
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort())
  const folder = await mkdtemp(join(tmpdir(), 'carillon-example-'))
  try {
    return await run(example, args, folder, stop.signal)
  } catch (error) {
    console.error(`${name} failed: ${error instanceof Error ? error.message : String(error)}`)
    return 1
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function run(example: Example, args: readonly string[], folder: string, signal: AbortSignal): Promise<number> {
  const { name, workflows, producer, hasMqtt } = example
  const log = new NodeLog((line) => console.log(line))
  const startedMs = performance.now()
  say('carillon', 'dev', ...workflows.map(pathHere))
  const [port, mqttPort] = [await freePort(), hasMqtt ? await freePort() : undefined]
  const dev = await startDev({ workflows, folder, port, mqttPort, onLog: (line) => log.add(line) })
  const servers = [dev.url, ...(dev.mqtt === undefined ? [] : [dev.mqtt])]
  console.log(`  ready after ${Math.round(performance.now() - startedMs)} ms: ${servers.join(' and ')}`)
  say('tsx', pathHere(producer), ...servers, ...args)
  const code = signal.aborted ? STOPPED : await runProducer(producer, [...servers, ...args], dev, signal)
  const devCode = await dev.stop()
  log.end()
  if (signal.aborted) return STOPPED
  if (devCode !== 0) throw new Error(`carillon dev ended with ${devCode}`)
  console.log(code === 0 ? `${name}: all as it must be` : `${name}: FAILED (the producer ended with ${code})`)
  return code
}

/** The source as it stands. When `carillon dev` ends in between, so does the producer. */
async function runProducer(
  path: string,
  args: readonly string[],
  dev: DevProcess,
  signal: AbortSignal,
): Promise<number> {
  const loader = process.execArgv.length > 0 ? process.execArgv : ['--import', import.meta.resolve('tsx')]
  const child = spawn(process.execPath, [...loader, path, ...args], { stdio: ['ignore', 'inherit', 'inherit'] })
  const end = (): void => void child.kill('SIGTERM')
  signal.addEventListener('abort', end)
  dev.exited.then(end, end)
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

function pathHere(path: string): string {
  return relative(process.cwd(), path)
}

function say(...command: readonly string[]): void {
  console.log(`$ ${command.join(' ')}`)
}
