/** Inboxes under the prefix that the connection was opened with: users may be permitted that one only. */
import { createInbox, type NatsConnection, NatsConnectionImpl } from '@nats-io/transport-node'

/** A new inbox subject of this connection. */
export function inboxOf(nc: NatsConnection): string {
  return createInbox(nc instanceof NatsConnectionImpl ? nc.options.inboxPrefix : undefined)
}
