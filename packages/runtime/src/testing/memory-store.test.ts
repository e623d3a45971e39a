import { describe, expect, it } from 'vitest'

import { MemoryDisk, MemoryStore, type StoreStage } from './memory-store.ts'
import { orderedStoreConformance } from './ordered-store-conformance.ts'

orderedStoreConformance('MemoryStore', () => {
  let store = new MemoryStore()
  return Promise.resolve({
    store,
    async reopen() {
      await store.close()
      store = new MemoryStore({ disk: store.disk })
      return store
    },
    dispose: () => store.close(),
  })
})

orderedStoreConformance('MemoryStore behind a gate', () => {
  const gate = async (): Promise<void> => {
    await Promise.resolve()
  }
  let store = new MemoryStore({ gate })
  return Promise.resolve({
    store,
    async reopen() {
      await store.close()
      store = new MemoryStore({ disk: store.disk, gate })
      return store
    },
    dispose: () => store.close(),
  })
})

describe('MemoryStore with faults', () => {
  const value = Uint8Array.of(1)
  const put = (key: string) => ({ table: 'record', key, value }) as const

  /** A gate whose stages wait until they are let through one by one. */
  function heldGate(): { gate: (stage: StoreStage) => Promise<void>; pass: (stage: StoreStage) => Promise<void> } {
    const waiting: { stage: StoreStage; go: () => void }[] = []
    return {
      gate: (stage) => new Promise((go) => waiting.push({ stage, go })),
      async pass(stage) {
        await tick()
        const next = waiting.shift()
        expect(next?.stage).toBe(stage)
        next?.go()
        await tick()
      },
    }
  }

  const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  it('fails one commit and leaves nothing of it', async () => {
    const store = new MemoryStore()
    store.failNextCommit()
    await expect(store.commit([put('a')])).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    await store.commit([put('b')])
    expect([...store.range('record', { from: '', to: '~' })].map((row) => row.key)).toEqual(['b'])
  })

  it('fails the commit whose gate throws, not the one behind it', async () => {
    let calls = 0
    const store = new MemoryStore({
      gate: () => {
        calls += 1
        if (calls === 1) throw new Error('no space')
      },
    })
    const [first, second] = await Promise.allSettled([store.commit([put('a')]), store.commit([put('b')])])
    expect(first).toMatchObject({ reason: { code: 'STORAGE_FAILED' } })
    expect(second.status).toBe('fulfilled')
  })

  it('shows a late commit before its promise resolves, and keeps it through a crash', async () => {
    const { gate, pass } = heldGate()
    const store = new MemoryStore({ gate })
    let resolved = 0
    const heard = Promise.all([put('a'), put('b')].map((write) => store.commit([write]).then(() => (resolved += 1))))
    expect(store.get('record', 'a')).toBeUndefined()
    await pass('apply')
    expect(store.get('record', 'a')).toEqual(value)
    expect(resolved).toBe(0)
    store.crash()
    await pass('resolve')
    expect(resolved).toBe(0)
    expect(await Promise.race([heard, tick().then(() => 'pending')])).toBe('pending')
    const again = new MemoryStore({ disk: store.disk })
    expect([...again.range('record', { from: '', to: '~' })].map((row) => row.key)).toEqual(['a'])
  })

  it('takes back unflushed batches in a power cut, newest first and whole', async () => {
    const store = new MemoryStore({ unflushedBatchesMax: 3 })
    await store.commit([put('flushed')])
    await store.flushed()
    await store.commit([put('a'), put('b'), { table: 'record', key: 'flushed', value: undefined }])
    await store.commit([{ table: 'record', key: 'a', value: Uint8Array.of(2) }, put('c')])
    store.crash(9)
    const again = new MemoryStore({ disk: store.disk })
    expect([...again.range('record', { from: '', to: '~' })].map((row) => row.key)).toEqual(['flushed'])
    expect(() => store.get('record', 'a')).toThrow(expect.objectContaining({ code: 'CLOSING' }))
  })

  it('loses no more batches than may be unflushed', async () => {
    const store = new MemoryStore({ unflushedBatchesMax: 1 })
    for (const key of ['a', 'b', 'c']) await store.commit([put(key)])
    store.crash(9)
    expect(
      [...new MemoryStore({ disk: store.disk }).range('record', { from: '', to: '~' })].map((row) => row.key),
    ).toEqual(['a', 'b'])
  })

  it('reports a damaged row until it is written again', async () => {
    const store = new MemoryStore()
    await store.commit([put('a'), put('b')])
    store.disk.damage('record', 'b')
    const damaged = expect.objectContaining({ code: 'SNAPSHOT_DAMAGED' })
    expect(() => store.get('record', 'b')).toThrow(damaged)
    expect(() => [...store.range('record', { from: '', to: '~' })]).toThrow(damaged)
    await store.commit([put('b')])
    expect(store.get('record', 'b')).toEqual(value)
  })

  it('copies a disk, so that an older one can be put back', async () => {
    const store = new MemoryStore({ disk: new MemoryDisk() })
    await store.commit([put('a')])
    const older = store.disk.copy()
    await store.commit([put('b')])
    expect([...new MemoryStore({ disk: older }).range('record', { from: '', to: '~' })]).toHaveLength(1)
  })
})
