import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll } from 'vitest'

import { inputLogConformance } from '@carillon/runtime/testing/input-log-conformance'
import { openCluster } from './cluster.ts'
import { JetStreamLog } from './jetstream-log.ts'
import { startTestServer, type TestServer } from './testing/nats-process.ts'

let server: TestServer
let count = 0

beforeAll(async () => {
  server = await startTestServer()
})

afterAll(() => server.stop())

inputLogConformance('JetStreamLog', async () => {
  const nc = await connect({ servers: server.url })
  const jsm = await jetstreamManager(nc)
  count += 1
  const namespace = `conformance-${count}`
  const { subjects } = await openCluster(nc, { namespace, partitions: 16 })
  const log = new JetStreamLog(nc, subjects)
  return {
    log,
    subjects,
    trim: async (firstSeq) => void (await jsm.streams.purge(subjects.logStream, { seq: firstSeq })),
    async recreate() {
      await jsm.streams.delete(subjects.logStream)
      await openCluster(nc, { namespace })
    },
    async dispose() {
      await log.close()
      await jsm.streams.delete(subjects.logStream)
      await nc.close()
    },
  }
})
