/** The options with which every command reaches the cluster. */
import { readFileSync } from 'node:fs'

import type { ConnectOptions, NatsOptions } from '@carillon/client'
import { CarillonError } from '@carillon/runtime'
import type { PayloadCodecs } from '@carillon/runtime/protocol'
import { credsAuthenticator, nkeyAuthenticator, nkeys } from '@nats-io/transport-node'
import { type Command, Option } from 'commander'

import { loadCodecs } from '../load-codecs.ts'
import { parseDuration } from './option-values.ts'

const DEFAULT_SERVERS = 'nats://localhost:4222'
export const DEFAULT_NAMESPACE = 'carillon'

const SEED = /\bSU[A-Z2-7]{56}\b/

export interface ConnectionFlags {
  readonly servers: string
  readonly namespace: string
  readonly user?: string
  readonly creds?: string
  readonly nkey?: string
  readonly inboxPrefix?: string
  readonly jsPrefix?: string
  readonly tlsCa?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly connectTimeout: number
  readonly json?: boolean
  readonly codecs?: string
}

/** Adds the options to a command. Passwords and tokens come by the environment only: arguments are visible to other users of the machine. */
export function addConnectionOptions(command: Command, connectTimeout = '10s'): Command {
  return command
    .addOption(
      new Option('--servers <urls>', 'NATS servers, with commas').env('CARILLON_SERVERS').default(DEFAULT_SERVERS),
    )
    .addOption(
      new Option('--namespace <name>', 'the cluster on these servers')
        .env('CARILLON_NAMESPACE')
        .default(DEFAULT_NAMESPACE),
    )
    .addOption(
      new Option('--user <name>', 'its password stands in CARILLON_PASSWORD; or set CARILLON_TOKEN alone').env(
        'CARILLON_USER',
      ),
    )
    .addOption(new Option('--creds <file>', 'a NATS credentials file').env('CARILLON_CREDS'))
    .addOption(new Option('--nkey <file>', 'the seed of a NATS user’s key, SU…').env('CARILLON_NKEY'))
    .addOption(
      new Option(
        '--inbox-prefix <subject>',
        'where answers come to, if this user may have inboxes there only: _INBOX.…',
      ).env('CARILLON_INBOX_PREFIX'),
    )
    .addOption(
      new Option('--js-prefix <subject>', 'where this account finds JetStream’s API, if not $JS.API').env(
        'CARILLON_JS_PREFIX',
      ),
    )
    .addOption(
      new Option('--tls-ca <file>', 'the authority that signed the servers’ certificates').env('CARILLON_TLS_CA'),
    )
    .addOption(new Option('--tls-cert <file>', 'the certificate to show to the servers').env('CARILLON_TLS_CERT'))
    .addOption(new Option('--tls-key <file>', 'its key').env('CARILLON_TLS_KEY'))
    .addOption(
      new Option('--connect-timeout <duration>', 'how long to try to connect')
        .env('CARILLON_CONNECT_TIMEOUT')
        .argParser(parseDuration)
        .default(parseDuration(connectTimeout), connectTimeout),
    )
    .addOption(codecsOption())
    .addOption(jsonOption())
}

export function codecsOption(): Option {
  return new Option('--codecs <file>', 'a module that exports the codecs that payloads pass, .ts or .js').env(
    'CARILLON_CODECS',
  )
}

export function jsonOption(): Option {
  return new Option('--json', 'print JSON')
}

/** What `connect` of the client takes. @throws CONFIG_INVALID when a file cannot be read. Throws as `loadCodecs`. */
export async function toConnectOptions(flags: ConnectionFlags): Promise<ConnectOptions> {
  const { servers, namespace, connectTimeout, jsPrefix } = flags
  const codecs = await toCodecs(flags)
  const own = { name: 'carillon-cli', timeoutMs: connectTimeout, jetStreamPrefix: jsPrefix }
  return { servers, namespace, ...own, nats: toNatsOptions(flags), codecs }
}

/** What payloads pass, where a file says it. Throws as `loadCodecs`. */
export async function toCodecs({ codecs }: Pick<ConnectionFlags, 'codecs'>): Promise<PayloadCodecs | undefined> {
  return codecs === undefined ? undefined : loadCodecs(codecs)
}

/** What the NATS client takes. @throws CONFIG_INVALID when a file cannot be read. */
export function toNatsOptions(flags: ConnectionFlags, env: NodeJS.ProcessEnv = process.env): NatsOptions {
  const { user, creds, nkey, inboxPrefix, tlsCa, tlsCert, tlsKey } = flags
  if (creds !== undefined && nkey !== undefined)
    throw new CarillonError('CONFIG_INVALID', 'both --creds and --nkey are given: pass the one that the servers know')
  const { CARILLON_PASSWORD: pass, CARILLON_TOKEN: token } = env
  const tls = {
    ...(tlsCa === undefined ? {} : { ca: readFile(tlsCa, '--tls-ca') }),
    ...(tlsCert === undefined ? {} : { cert: readFile(tlsCert, '--tls-cert') }),
    ...(tlsKey === undefined ? {} : { key: readFile(tlsKey, '--tls-key') }),
  }
  return {
    ...(user === undefined ? {} : { user, pass: pass ?? '' }),
    ...(token === undefined || token === '' ? {} : { token }),
    ...(creds === undefined ? {} : { authenticator: credsAuthenticator(readCredentials(creds)) }),
    ...(nkey === undefined ? {} : { authenticator: nkeyAuthenticator(readSeed(nkey)) }),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
  }
}

/** A JWT and its seed, as NATS's tools write them. The error does not quote it. */
function readCredentials(path: string): Uint8Array {
  const text = readFile(path, '--creds')
  if (/BEGIN[^\n]*JWT[^\n]*\n[\w.-]+\n/.test(text) && SEED.test(text)) return Buffer.from(text)
  throw new CarillonError(
    'CONFIG_INVALID',
    `the file of --creds, ${path}, holds no credentials: a JWT and the seed of its user, as nsc writes them; a seed alone goes with --nkey`,
  )
}

/** The seed in a file, alone or between the lines that NATS's tools put around it. The error does not quote it. */
function readSeed(path: string): Uint8Array {
  const seed = Buffer.from(SEED.exec(readFile(path, '--nkey'))?.[0] ?? '')
  try {
    nkeys.fromSeed(seed)
    return seed
  } catch {
    throw new CarillonError(
      'CONFIG_INVALID',
      `the file of --nkey, ${path}, holds no seed of a user’s key: 58 characters that begin with SU`,
    )
  }
}

function readFile(path: string, option: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CarillonError(
      'CONFIG_INVALID',
      `the file of ${option} cannot be read: ${reason}: check the path and its rights`,
      { cause: error },
    )
  }
}
