/** The life of a worker process: load, connect, work until asked to stop, let calls come to their end. */
import { hostname } from 'node:os'

import { connect, type Worker } from '@carillon/client'
import type { Logger } from 'pino'

import { loadActivities } from '../load-workflows.ts'
import { type ConnectionFlags, toConnectOptions } from './connection-options.ts'
import { EXIT_OK } from './exit-codes.ts'
import { createLogger, type LogLevel } from './logger.ts'
import { splitList } from './option-values.ts'
import { StopRequest } from './stop-request.ts'

export interface WorkerFlags extends ConnectionFlags {
  readonly queue: string
  readonly activities: readonly string[]
  readonly concurrency?: number
  readonly name?: string
  readonly grace?: number
  readonly logLevel: LogLevel
}

/**
 * Runs a worker.
 *
 * @returns the exit code after a stop that was asked for.
 * @throws what kept it from starting.
 */
export async function runWorker(flags: WorkerFlags): Promise<number> {
  const logger = await createLogger({ level: flags.logLevel, json: flags.json === true })
  const stop = new StopRequest({
    withParent: false,
    onHardStop: (signal) => logger.warn({ signal }, 'asked again: ended at once, other workers take over'),
  })
  const loaded = await loadActivities(splitList(flags.activities))
  const { queue, concurrency, name = `worker-${hostname()}` } = flags
  const carillon = await connect({ ...(await toConnectOptions(flags)), name })
  try {
    const worker = await carillon.worker({ ...loaded, queue, concurrency, logger })
    logger.info({ worker: name, queue }, 'the worker is ready')
    await drain(worker, await stop.requested, flags.grace, logger)
    return EXIT_OK
  } finally {
    await carillon.close()
  }
}

async function drain(worker: Worker, by: string, graceMs: number | undefined, logger: Logger): Promise<void> {
  logger.info({ by, held: worker.held }, 'draining')
  await worker.close(graceMs)
  logger.info({ ...worker.counts }, 'drained')
}
