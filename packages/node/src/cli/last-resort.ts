/** What a process that runs an author's code does about errors that nobody has caught. */
import type { Logger } from 'pino'

import { EXIT_FAILED } from './exit-codes.ts'

/**
 * A rejection that nobody handles comes from code that forgot an await, most likely an author's: the node says so and goes on, one bad actor is
 * one bad actor. After an exception that nobody caught nothing is certain any more: the process ends, and the next one starts from what is durable.
 */
export function watchLastResort(logger: Logger): void {
  process.on('unhandledRejection', (error) => {
    logger.error(
      { code: 'UNHANDLED_REJECTION', error },
      'a promise was rejected and nobody handled it: look for a missing await',
    )
  })
  process.on('uncaughtException', (error) => {
    logger.fatal({ code: 'UNCAUGHT_EXCEPTION', error }, 'an exception was not caught: the process ends')
    process.exit(EXIT_FAILED)
  })
}
