/**
 * The HTTP side of a node, for probes and Prometheus: `/live`, `/ready`, `/metrics`. It changes nothing and takes no input.
 *
 * Owns: the listening socket. Does not own: what it tells.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import { CarillonError } from '@carillon/runtime'

import { createNodeMetrics, METRICS_CONTENT_TYPE, type MetricsSource } from './node-metrics.ts'

export interface MonitorAddress {
  readonly host: string
  /** 0: a free one. */
  readonly port: number
}

/** Probes come one at a time; more than this at once is something else. */
const CONNECTIONS_MAX = 64
const REQUEST_MS_MAX = 5000

export class MonitorServer {
  readonly #server: Server
  readonly url: string

  private constructor(server: Server, { host }: MonitorAddress) {
    this.#server = server
    const { port } = server.address() as AddressInfo
    this.url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`
  }

  /** @throws CONFIG_INVALID when the address cannot be listened on. */
  static async open(address: MonitorAddress, read: () => MetricsSource): Promise<MonitorServer> {
    const metrics = createNodeMetrics(read)
    const server = createServer((request, response) => {
      answer(request, response, read, () => metrics.metrics()).catch(() => response.destroy())
    })
    server.maxConnections = CONNECTIONS_MAX
    server.requestTimeout = REQUEST_MS_MAX
    server.headersTimeout = REQUEST_MS_MAX
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(address.port, address.host, resolve)
    }).catch((error: unknown) => {
      throw new CarillonError(
        'CONFIG_INVALID',
        `cannot listen on ${address.host}:${address.port} for probes and metrics: ${(error as Error).message}; give another --monitor`,
      )
    })
    // It must not keep a process alive that has drained.
    server.unref()
    return new MonitorServer(server, address)
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }
}

async function answer(
  { method, url }: IncomingMessage,
  response: ServerResponse,
  read: () => MetricsSource,
  metrics: () => Promise<string>,
): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') return end(response, 405, 'only GET is answered\n', { allow: 'GET, HEAD' })
  const { phase } = read()
  switch (url?.split('?')[0]) {
    case '/live':
      // That there is an answer says it: the event loop turns.
      return end(response, 200, 'live\n')
    case '/ready':
      return end(response, phase === 'live' ? 200 : 503, `${phase}\n`)
    case '/metrics':
      return end(response, 200, await metrics(), { 'content-type': METRICS_CONTENT_TYPE })
    default:
      return end(response, 404, 'there is /live, /ready and /metrics\n')
  }
}

function end(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', ...headers })
  response.end(body)
}
