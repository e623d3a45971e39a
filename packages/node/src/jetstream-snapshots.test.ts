import { snapshotsConformance } from '@carillon/runtime/testing/snapshots-conformance'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll } from 'vitest'

import { openCluster } from './cluster.ts'
import { JetStreamSnapshots } from './jetstream-snapshots.ts'
import { startTestServer, type TestServer } from './testing/nats-process.ts'

let server: TestServer
let count = 0

beforeAll(async () => {
  server = await startTestServer()
})

afterAll(() => server.stop())

snapshotsConformance('JetStreamSnapshots', async () => {
  const nc = await connect({ servers: server.url })
  count += 1
  const { subjects } = await openCluster(nc, { namespace: `snapshots-${count}`, partitions: 16 })
  return {
    snapshots: new JetStreamSnapshots(nc, subjects),
    async dispose() {
      await (await jetstreamManager(nc)).streams.delete(subjects.snapshotStream)
      await nc.close()
    },
  }
})
