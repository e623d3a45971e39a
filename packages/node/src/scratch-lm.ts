import { openLmdbStore } from './open-lmdb-store.ts'
import { silentLogger } from '@carillon/runtime/ports'
process.on('unhandledRejection', (e) => { console.log('UNHANDLED', e) })
const dir = process.argv[2]!
const cluster = { clusterId: 'c', clusterName: 'n', logIdentity: 'l' }
const { store } = await openLmdbStore({ path: dir, cluster, log: silentLogger, ...(process.argv[3] ? { bytesMax: Number(process.argv[3]) } : {}) })
let n = 0
try {
  for (;; n++) await store.commit(Array.from({ length: 100 }, (_, i) => ({ table: 'record', key: `b${n}.${i}`, value: Buffer.alloc(1000, n) })))
} catch (e) { console.log('failed at', n, e.code, e.message) }
console.log('rows of failed batch', [...store.range('record', { from: `b${n}.`, to: `b${n}/` })].length, 'of previous', [...store.range('record', { from: `b${n - 1}.`, to: `b${n - 1}/` })].length)
let t = performance.now()
await store.flushed().then(() => console.log('flushed', performance.now() - t), (e) => console.log('flush failed', e.message))
// free some by deleting, and try again
await store.commit(Array.from({ length: 100 }, (_, i) => ({ table: 'record', key: `b0.${i}`, value: undefined }))).then(() => console.log('delete ok'), (e) => console.log('delete', e.message))
await store.commit([{ table: 'record', key: 'after', value: Buffer.alloc(10) }]).then(() => console.log('small ok'), (e) => console.log('small', e.message))
t = performance.now()
await store.close().then(() => console.log('closed', performance.now() - t), (e) => console.log('close failed', e.message))
await new Promise((r) => setTimeout(r, 100))
const again = await openLmdbStore({ path: dir, cluster, log: silentLogger })
console.log(again.opened, again.store.get('record', `b${n - 1}.99`)?.length, again.store.get('record', `b${n}.0`)?.length)
await again.store.close()
