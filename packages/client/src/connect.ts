/** Connects a producer to a cluster: the composition root of this package. */
import { checkNamespace, Subjects } from '@carillon/runtime/protocol'

import { Carillon } from './carillon.ts'
import { type NatsOptions, openConnection } from './connection.ts'
import { Deadline } from './deadline.ts'
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
  /** What the NATS client takes: authentication, TLS, ping interval, … */
  readonly nats?: NatsOptions | undefined
  /** How long to try to reach a server, and to wait for the first node to create the cluster; default 10,000. */
  readonly timeoutMs?: number | undefined
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined
}

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
  const deadline = new Deadline(options.timeoutMs ?? CONNECT_TIMEOUT_MS)
  const nc = await openConnection({ servers, name, nats }, deadline, signal)
  try {
    const cluster = await readCluster(nc, namespace, deadline, signal)
    const session = new Session(nc, new Subjects(namespace, cluster.partitions), nats.inboxPrefix)
    return new Carillon(session, cluster)
  } catch (error) {
    await nc.close()
    throw error
  }
}
