/**
 * Where an account finds JetStream's API.
 *
 * Streams belong to one account of the servers. Another account imports what it may use of that one's API, under a prefix of its own: under `$JS.API` it
 * has the API of its own account.
 */
import { CarillonError } from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'

const PREFIX = /^[A-Za-z0-9_$-]{1,64}(?:\.[A-Za-z0-9_$-]{1,64}){0,4}$/

/** What `jetstream` and `jetstreamManager` take. */
export function apiOptions(prefix: string | undefined): { readonly apiPrefix?: string } {
  return prefix === undefined ? {} : { apiPrefix: prefix }
}

/** @throws CONFIG_INVALID when it is no prefix of subjects. */
export function checkApiPrefix(prefix: string | undefined): void {
  if (prefix === undefined || PREFIX.test(prefix)) return
  throw new CarillonError(
    'CONFIG_INVALID',
    `the jetStreamPrefix ${quote(prefix)} is not a prefix of subjects: use what the account imports JetStream's API under, for example "carillon.api"`,
  )
}
