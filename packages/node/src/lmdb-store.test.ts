import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { silentLogger } from '@carillon/runtime/ports'
import { orderedStoreConformance } from '@carillon/runtime/testing/ordered-store-conformance'

import { openLmdbStore } from './open-lmdb-store.ts'

orderedStoreConformance('LmdbStore', async () => {
  const path = mkdtempSync(join(tmpdir(), 'carillon-store.'))
  const cluster = { clusterId: 'c1', clusterName: 'shop', logIdentity: 'j1' }
  const open = async () => (await openLmdbStore({ path, cluster, log: silentLogger })).store
  let store = await open()
  return {
    store,
    async reopen() {
      await store.close()
      store = await open()
      return store
    },
    async dispose() {
      await store.close()
      rmSync(path, { recursive: true })
    },
  }
})
