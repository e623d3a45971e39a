/** Connects a producer to a cluster: the composition root of this package. */
import { CarillonError, type ClientInterceptor, type ReadFrom } from '@carillon/runtime'
import { checkNamespace, type PayloadCodecs, quote, Subjects } from '@carillon/runtime/protocol'

import { Carillon } from './carillon.ts'
import { type NatsOptions, openConnection } from './connection.ts'
import { Deadline } from './deadline.ts'
import { composeInterceptors } from './intercepted.ts'
import { checkApiPrefix } from './jetstream-api.ts'
import { CONNECT_TIMEOUT_MS } from './limits.ts'
import { readCluster } from './read-cluster.ts'
import { Session } from './session.ts'

export interface ConnectOptions {
  /** URLs of NATS servers, one or several (as a list, or with commas). Credentials in them are used, and never printed. */
  readonly servers: string | readonly string[]
  /** Several applications may share one NATS; default `carillon`. */
  readonly namespace?: string | undefined
  /** How the connection is called in the server's monitoring; default `carillon-client`. */
  readonly name?: string | undefined
  /** What the NATS client takes: authentication, TLS, ping interval, … An `inboxPrefix` begins with `_INBOX.`: nodes send outcomes nowhere else. */
  readonly nats?: NatsOptions | undefined
  /** Where this account finds JetStream's API, if it imports that from another account under a prefix of its own. Default: `$JS.API`. */
  readonly jetStreamPrefix?: string | undefined
  /** Around every call of a handle, the first the outermost; default: none. */
  readonly interceptors?: readonly ClientInterceptor[] | undefined
  /** What payloads pass on their way out and in; `createCodecs` of `@carillon/runtime/codecs` makes them. Default: none. */
  readonly codecs?: PayloadCodecs | undefined
  /** Which node answers queries, `describe`, `list` and `count` that do not say it themselves; default `owner`. */
  readonly readsFrom?: ReadFrom | undefined
  /** How long to try to reach a server, and to wait for the first node to create the cluster; default 10,000. */
  readonly timeoutMs?: number | undefined
  /** Gives up when aborted, with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

const INBOX_PREFIX = /^_INBOX(?:\.[A-Za-z0-9_-]{1,64}){0,2}$/
const NEVER = new AbortController().signal

/**
 * Connects to a cluster. From then on the connection comes back by itself whenever it is lost.
 *
 * @throws SERVER_UNREACHABLE, SERVER_REFUSED, JETSTREAM_UNAVAILABLE: what they say.
 * @throws CONFIG_INVALID when the options are wrong, or the namespace holds no cluster (yet). @throws CLUSTER_MISMATCH when the cluster is of a
 * release that this one does not know. @throws INVALID_ID when the namespace is not one.
 */
export async function connect(options: ConnectOptions): Promise<Carillon> {
  const { servers, namespace = 'carillon', name = 'carillon-client', nats = {}, signal = NEVER } = options
  checkNamespace(namespace)
  checkInboxPrefix(nats.inboxPrefix)
  checkApiPrefix(options.jetStreamPrefix)
  const deadline = new Deadline(options.timeoutMs ?? CONNECT_TIMEOUT_MS)
  const nc = await openConnection({ servers, name, nats }, deadline, signal)
  try {
    const cluster = await readCluster(nc, namespace, deadline, signal, options.jetStreamPrefix)
    const session = new Session(
      nc,
      new Subjects(namespace, cluster.partitions),
      nats.inboxPrefix,
      options.codecs,
      composeInterceptors(options.interceptors),
      checkReadsFrom(options.readsFrom),
      options.jetStreamPrefix,
    )
    return new Carillon(session, cluster)
  } catch (error) {
    await nc.close()
    throw error
  }
}

/** Nodes refuse an input whose reply goes anywhere else: a producer must not make them publish where it may not itself. */
function checkInboxPrefix(prefix: string | undefined): void {
  if (prefix === undefined || INBOX_PREFIX.test(prefix)) return
  throw new CarillonError(
    'CONFIG_INVALID',
    `the inboxPrefix ${quote(prefix)} is not under _INBOX, where nodes send outcomes: use for example "_INBOX.my-app"`,
  )
}

function checkReadsFrom(readsFrom: ReadFrom = 'owner'): ReadFrom {
  if (readsFrom === 'owner' || readsFrom === 'any') return readsFrom
  throw new CarillonError('CONFIG_INVALID', `readsFrom is ${quote(readsFrom)}: give 'owner' or 'any'`)
}
