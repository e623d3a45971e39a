/** One connection of the client for one command. */
import { type Carillon, connect } from '@carillon/client'

import { type ConnectionFlags, toConnectOptions } from './connection-options.ts'

/** Connects, runs, and disconnects whatever happens. */
export async function withClient(flags: ConnectionFlags, use: (carillon: Carillon) => Promise<void>): Promise<void> {
  const carillon = await connect(await toConnectOptions(flags))
  try {
    await use(carillon)
  } finally {
    await carillon.close()
  }
}
