/** What every demo stands on: a temporary folder, a way to stop, and an end that leaves nothing behind. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Progress } from './progress.ts'

export interface Stage {
  readonly folder: string
  readonly progress: Progress
  /** Aborts when the demo is stopped. */
  readonly signal: AbortSignal
  readonly natsServerPath: string
  /** To be closed at the end, whatever it is, last come first. */
  readonly defer: (close: () => Promise<void>) => void
}

const STOPPED = 130

/**
 * Runs a demo to its end.
 *
 * @param run gives whether all was as it must be.
 * @returns the exit code: 0 when all was, 1 when it was not or something failed, 130 when it was stopped.
 */
export async function onStage(
  { keep }: { readonly keep: boolean },
  run: (stage: Stage) => Promise<boolean>,
): Promise<number> {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort())
  // Whoever read the output is gone.
  process.stdout.on('error', () => stop.abort())
  const folder = await mkdtemp(join(tmpdir(), 'carillon-demo-'))
  const closers = [() => (keep ? tellKept(folder) : rm(folder, { recursive: true, force: true }))]
  const stage = {
    folder,
    progress: new Progress(process.stdout),
    signal: stop.signal,
    defer: (close: () => Promise<void>) => void closers.push(close),
  }
  try {
    return (await run({ ...stage, natsServerPath: natsServerPath() })) ? 0 : 1
  } catch (error) {
    if (stop.signal.aborted) return STOPPED
    console.error(`the demo failed: ${error instanceof Error ? error.message : String(error)}`)
    return 1
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

async function tellKept(folder: string): Promise<void> {
  console.log(`kept: ${folder}`)
}

function natsServerPath(): string {
  const path = process.env['CARILLON_NATS_SERVER']
  if (path !== undefined && path !== '') return path
  throw new Error(
    'CARILLON_NATS_SERVER names no nats-server: run `npm run demo` at the root of the repository, which provides one',
  )
}
