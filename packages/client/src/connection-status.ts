/** Follows the status of a NATS connection until told to stop. */
import type { NatsConnection, Status } from '@nats-io/transport-node'

export interface StatusWatch {
  /** Stops; `onStatus` is not called again. */
  stop(): void
}

/** Calls `onStatus` for every change of the connection, in order. Ends by itself when the connection closes. */
export function watchStatus(nc: NatsConnection, onStatus: (status: Status) => void): StatusWatch {
  const statuses = nc.status()
  let stopped = false
  const follow = async (): Promise<void> => {
    for await (const status of statuses) {
      if (stopped) return
      onStatus(status)
    }
  }
  follow().catch(crash)
  return {
    stop() {
      stopped = true
      // The declared type has no way to end a wait for the next status; the object has.
      if (isStoppable(statuses)) statuses.stop()
    },
  }
}

function isStoppable(statuses: object): statuses is { stop(): void } {
  return 'stop' in statuses && typeof statuses.stop === 'function'
}

/** A listener that throws is a bug, and is not to be lost in a promise. */
function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}
