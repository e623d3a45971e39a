/** With which code the process ends for which failure. Scripts and supervisors branch on it. */
import { codeOf, type ErrorCode } from '@carillon/runtime'

export const EXIT_OK = 0
export const EXIT_FAILED = 1
const EXIT_USAGE = 2
const EXIT_UNREACHABLE = 3
const EXIT_REFUSED = 4
const EXIT_FOREIGN = 5
const EXIT_JOURNAL = 6
const EXIT_STORAGE = 7
const EXIT_RETRY = 8
const SIGNAL_BASE = 128

/** Codes that are not here end with 1: the command was understood and carried out, and the answer is an error. */
const BY_CODE: { readonly [Code in ErrorCode]?: number } = {
  CONFIG_INVALID: EXIT_USAGE,
  INVALID_ID: EXIT_USAGE,
  INVALID_PAYLOAD: EXIT_USAGE,
  PAYLOAD_TOO_LARGE: EXIT_USAGE,
  INVALID_DEFINITION: EXIT_USAGE,
  INVALID_DURATION: EXIT_USAGE,
  SERVER_UNREACHABLE: EXIT_UNREACHABLE,
  SERVER_REFUSED: EXIT_REFUSED,
  SERVER_TOO_OLD: EXIT_REFUSED,
  JETSTREAM_UNAVAILABLE: EXIT_REFUSED,
  DATA_IN_USE: EXIT_FOREIGN,
  FOREIGN_DATA: EXIT_FOREIGN,
  CLUSTER_MISMATCH: EXIT_FOREIGN,
  JOURNAL_BEHIND: EXIT_JOURNAL,
  JOURNAL_REPLACED: EXIT_JOURNAL,
  STORAGE_FAILED: EXIT_STORAGE,
  TIMEOUT: EXIT_RETRY,
  NO_NODE: EXIT_RETRY,
  NOT_ACKNOWLEDGED: EXIT_RETRY,
}

/** The code for an error that ended a command. */
export function exitCodeOf(error: unknown): number {
  return BY_CODE[codeOf(error) as ErrorCode] ?? EXIT_FAILED
}

/** The code of a process that a signal ended at once. */
export function exitCodeOfSignal(number: number): number {
  return SIGNAL_BASE + number
}

/** The table, as help shows it. */
export const EXIT_CODES_HELP = `Exit codes:
  0        done; for a node or dev: stopped in order
  1        the answer is an error (a handler failed, no such instance, …), or an unexpected failure
  2        wrong usage or configuration: an option, a payload, a workflow file
  3        no NATS server answered
  4        the server refused, is too old, or has no JetStream
  5        the data folder is in use or another cluster's, or the cluster is another one than asked for
  6        the journal ends before the node's data, or was replaced
  7        the data folder cannot be read or written
  8        no answer in time: asking again is safe (inputs: with the same --id)
  130,143  ended at once by a second SIGINT or SIGTERM`
