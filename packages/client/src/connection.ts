/** Opens the NATS connection. Error messages name servers, never the credentials that stood in their URLs. */
import { CarillonError, codeOf } from '@carillon/runtime'
import { quote } from '@carillon/runtime/protocol'
import { connect, errors, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node'

import { type Deadline, pause } from './deadline.ts'

/** What NATS itself understands: authenticators, TLS, inbox prefix. `servers` and `name` are given beside it. */
export type NatsOptions = Omit<NodeConnectionOptions, 'servers' | 'name'>

export interface ConnectionTarget {
  readonly servers: string | readonly string[]
  readonly name: string
  readonly nats: NatsOptions
}

const RETRY_MS = 250
const UNKNOWN_AUTHORITY: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])
/** A server that accepts and then says nothing is given up after this, so that the next one gets its turn. */
const DIAL_MS_MAX = 5_000
/**
 * Two pings without an answer, and the third one's time has come: so a server that stands still is given up within 9 s, about as long as an election takes. By
 * default it would be noticed after four minutes.
 */
const DEFAULTS: NodeConnectionOptions = {
  maxReconnectAttempts: -1,
  reconnectTimeWait: 250,
  reconnectJitter: 100,
  pingInterval: 3_000,
  maxPingOut: 2,
}

/**
 * Connects, trying again until the deadline. Afterwards the connection reconnects by itself for ever.
 *
 * @throws CONFIG_INVALID when a server's URL cannot be read. @throws SERVER_REFUSED when the credentials are not accepted.
 * @throws SERVER_UNREACHABLE when no server answered in time.
 */
export async function openConnection(
  target: ConnectionTarget,
  deadline: Deadline,
  signal: AbortSignal,
): Promise<NatsConnection> {
  const { servers, credentials } = parseServers(target.servers)
  for (;;) {
    try {
      const timeout = Math.max(1, Math.min(DIAL_MS_MAX, deadline.leftMs))
      return await connect({ ...DEFAULTS, timeout, ...credentials, ...target.nats, servers, name: target.name })
    } catch (error) {
      const reason = redact(error instanceof Error ? error.message : String(error))
      if (isRefusal(error))
        throw new CarillonError(
          'SERVER_REFUSED',
          `the NATS server at ${servers.join(', ')} refused the connection: ${reason}: check the credentials`,
        )
      const distrust = distrustOf(error)
      if (distrust !== undefined)
        throw new CarillonError(
          'SERVER_REFUSED',
          `no TLS connection with the NATS server at ${servers.join(', ')}: ${reason}: ${distrust}`,
        )
      if (isMisuse(error)) throw new CarillonError('CONFIG_INVALID', `the NATS options are not usable: ${reason}`)
      if (deadline.leftMs <= RETRY_MS) {
        throw new CarillonError(
          'SERVER_UNREACHABLE',
          `no NATS server answered at ${servers.join(', ')} within ${deadline.timeoutMs} ms: ${reason}: check the address, and that it runs`,
        )
      }
      await pause(RETRY_MS, signal)
      signal.throwIfAborted()
    }
  }
}

/** A text without `user:password@` in URLs. */
export function redact(text: string): string {
  return text.replaceAll(/\/\/[^/\s]*@/g, '//').replaceAll(/(?<=^|[\s,'"])[^\s/,'"]*:[^\s/,'"]*@/g, '')
}

interface Servers {
  /** Host and port, without credentials. */
  readonly servers: string[]
  readonly credentials: { user?: string; pass?: string; token?: string }
}

/** Takes the credentials out of the URLs: the NATS client does not read them there, and would print them in errors. */
export function parseServers(given: string | readonly string[]): Servers {
  const texts = (typeof given === 'string' ? given.split(',') : given)
    .map((text) => text.trim())
    .filter((text) => text !== '')
  if (texts.length === 0)
    throw new CarillonError(
      'CONFIG_INVALID',
      'no NATS server is given: pass servers, for example "nats://localhost:4222"',
    )
  const urls = texts.map(parseUrl)
  const owners = new Set(urls.map((url) => `${url.username}:${url.password}`).filter((pair) => pair !== ':'))
  if (owners.size > 1)
    throw new CarillonError(
      'CONFIG_INVALID',
      'the URLs of the NATS servers carry different credentials: pass one pair by the nats option',
    )
  const owner = urls.find((url) => url.username !== '' || url.password !== '')
  return { servers: urls.map(formatServer), credentials: owner === undefined ? {} : toCredentials(owner) }
}

function parseUrl(text: string): URL {
  try {
    const url = new URL(text.includes('://') ? text : `nats://${text}`)
    decodeURIComponent(`${url.username}${url.password}`)
    if (url.hostname !== '') return url
  } catch {
    // Told below. The error quotes the text with its credentials, so it is not kept as the cause.
  }
  const host = text.slice(text.lastIndexOf('@') + 1)
  throw new CarillonError(
    'CONFIG_INVALID',
    `the NATS server ${quote(host)} is not a URL: write it as nats://host:port, and credentials in it percent-encoded`,
  )
}

function formatServer(url: URL): string {
  return `${url.protocol}//${url.host}`
}

function toCredentials(url: URL): Servers['credentials'] {
  const user = decodeURIComponent(url.username)
  return url.password === '' ? { token: user } : { user, pass: decodeURIComponent(url.password) }
}

function isRefusal(error: unknown): boolean {
  return error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError
}

/** What to do about a TLS handshake that fails, which trying again does not change; undefined for every other error. */
function distrustOf(error: unknown): string | undefined {
  // The NATS client has no code for this.
  if (error instanceof Error && error.message.includes("does not support 'tls'"))
    return 'it speaks no TLS: connect to one that does, or leave the TLS options out'
  const codes = [error, error instanceof Error ? error.cause : undefined].map((one) => codeOf(one) ?? '')
  if (codes.some((code) => UNKNOWN_AUTHORITY.has(code)))
    return 'its certificate is of an authority that is not known here: give its file (tls.caFile, or --tls-ca)'
  if (codes.includes('ERR_TLS_CERT_ALTNAME_INVALID'))
    return 'its certificate is for other names: connect by one of those'
  if (codes.includes('CERT_HAS_EXPIRED') || codes.includes('CERT_NOT_YET_VALID'))
    return 'its certificate is not valid at this time: renew it, or set the clock'
  if (codes.some((code) => code.startsWith('ERR_SSL_')))
    return 'it may want a certificate (tls.certFile and tls.keyFile, or --tls-cert and --tls-key), or speak no TLS'
  return undefined
}

function isMisuse(error: unknown): boolean {
  return error instanceof errors.InvalidArgumentError || codeOf(error) === 'ERR_INVALID_URL'
}
