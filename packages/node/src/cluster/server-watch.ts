/**
 * What a connection tells about the NATS servers: when it is up, with which server, and when another server of the cluster is gone.
 *
 * A server tells its clients at once, by INFO, when a route to another one ends: that one's URL is not among `connect_urls` any more. The client library
 * reports an INFO as the status `update`, but lists as deleted only those it did not know from its options; so the lists are compared here.
 */
import { watchStatus } from '@carillon/client'
import type { NatsConnection, ServerInfo } from '@nats-io/transport-node'

export interface ServerWatchHandlers {
  /** `isLossTold`: whether that server tells which others there are. One that runs alone has nothing to tell. */
  readonly onConnected: (server: string, isLossTold: boolean) => void
  readonly onDisconnected: () => void
  readonly onServerLost: () => void
}

/** Calls back from now on, first with how it is now, until the returned function is called. */
export function watchServers(nc: NatsConnection, handlers: ServerWatchHandlers): () => void {
  let urls = urlsOf(nc.info)
  let isConnected = true
  const tellConnected = (): void => handlers.onConnected(nc.info?.server_name ?? '', isLossTold(nc.info))
  tellConnected()
  const watch = watchStatus(nc, ({ type }) => {
    if (type === 'disconnect' && isConnected) {
      isConnected = false
      handlers.onDisconnected()
    } else if (type === 'reconnect') {
      isConnected = true
      urls = urlsOf(nc.info)
      tellConnected()
    } else if (type === 'update' && isConnected) {
      const before = urls
      urls = urlsOf(nc.info)
      if (before.some((url) => !urls.includes(url))) handlers.onServerLost()
      else if (before.length !== urls.length) tellConnected()
    }
  })
  return () => watch.stop()
}

function urlsOf(info: ServerInfo | undefined): readonly string[] {
  return info?.connect_urls ?? []
}

/** With `no_advertise` a server of a cluster says nothing about the others. */
function isLossTold(info: ServerInfo | undefined): boolean {
  const cluster: unknown = (info as { readonly cluster?: unknown } | undefined)?.cluster
  return urlsOf(info).length > 0 || cluster === undefined || cluster === ''
}
