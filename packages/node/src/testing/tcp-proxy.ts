/** A TCP proxy between a client and a server, for faults on the way. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  readonly url: string
  /**
   * Drops what the server says from now on: acknowledgements are lost, though their messages are stored. Only `cut`
   * ends it.
   */
  deafen(): void
  /** Ends all connections; the next ones work. */
  cut(): void
  /** Refuses connections, or takes them again. */
  refuse(isRefusing: boolean): void
  close(): Promise<void>
}

/** Opens a proxy to a port of this machine. */
export async function openTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let isDeaf = false
  let isRefusing = false
  const keep = (socket: Socket, other: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => {
      sockets.delete(socket)
      other.destroy()
    })
  }
  const server = createServer((client) => {
    if (isRefusing) return void client.destroy()
    const upstream = connect(targetPort, '127.0.0.1')
    client.setNoDelay(true)
    upstream.setNoDelay(true)
    keep(client, upstream)
    keep(upstream, client)
    client.on('data', (chunk) => upstream.write(chunk))
    upstream.on('data', (chunk) => {
      if (!isDeaf) client.write(chunk)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string')
    throw new Error('a listening TCP server has an address with a port')
  const cut = (): void => {
    isDeaf = false
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `nats://127.0.0.1:${address.port}`,
    deafen() {
      isDeaf = true
    },
    cut,
    refuse(value) {
      isRefusing = value
    },
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
