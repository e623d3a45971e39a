/** The log of a node process: on stderr, for people on a terminal, else JSON lines. */
import { codeOf } from '@carillon/runtime'
import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino'

import { withoutSecrets } from './secrets.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface LoggerOptions {
  readonly level: LogLevel
  /** JSON lines even on a terminal. */
  readonly json: boolean
}

const STDERR = 2

/** Makes the log. It writes synchronously: a process that is about to end has said what it had to say. */
export async function createLogger({ level, json }: LoggerOptions): Promise<PinoLogger> {
  const isPretty = process.stderr.isTTY && !json
  const destination = isPretty ? await prettyDestination() : pino.destination({ dest: STDERR, sync: true })
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers: { error: toLogged } },
    destination,
  )
}

async function prettyDestination(): Promise<DestinationStream> {
  const { build } = await import('pino-pretty')
  return build({ destination: STDERR, sync: true, translateTime: 'SYS:HH:MM:ss.l', singleLine: true })
}

/** Errors with their code; the stack only where it helps, which is where nobody expected the error. */
function toLogged(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const message = withoutSecrets(error.message)
  const code = codeOf(error)
  if (error.name === 'CarillonError') return { code, message }
  return {
    ...(code === undefined ? {} : { code }),
    name: error.name,
    message,
    stack: withoutSecrets(error.stack ?? ''),
  }
}
