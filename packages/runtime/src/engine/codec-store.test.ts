import { describe, expect, it } from 'vitest'

import { compression, createCodecs, encryption } from '../codecs/index.ts'
import { MemoryDisk, MemoryStore } from '../testing/memory-store.ts'
import { orderedStoreConformance } from '../testing/ordered-store-conformance.ts'
import { CodecStore } from './codec-store.ts'

const KEY = Buffer.alloc(32, 1)
const ring = encryption({ keys: { k1: KEY }, current: 'k1' })
const codecs = createCodecs([compression(), ring])
const SECRET = 'a most secret state'

orderedStoreConformance('CodecStore', () => {
  let memory = new MemoryStore()
  const store = new CodecStore(memory, codecs)
  return Promise.resolve({
    store,
    async reopen() {
      await memory.close()
      memory = new MemoryStore({ disk: memory.disk })
      return new CodecStore(memory, codecs)
    },
    dispose: () => memory.close(),
  })
})

describe('CodecStore', () => {
  const rows = (disk: MemoryDisk): string =>
    [...new MemoryStore({ disk }).range('record', { from: '', to: '~' })]
      .map(({ value }) => Buffer.from(value).toString('latin1'))
      .join('\n')
  const put = (key: string, value = SECRET) => ({ table: 'record', key, value: Buffer.from(value) }) as const

  it('lets nothing of a value reach the store as it is', async () => {
    const disk = new MemoryDisk()
    await new CodecStore(new MemoryStore({ disk }), codecs).commit([put('a'), put('b', SECRET.repeat(200))])
    expect(rows(disk)).not.toContain('secret')
    expect(rows(disk)).toContain('msgpack,zlib,aes-gcm')
  })

  it('reads rows that were written without codecs, and encodes them when they are written again', async () => {
    const disk = new MemoryDisk()
    await new MemoryStore({ disk }).commit([put('a')])
    const store = new CodecStore(new MemoryStore({ disk }), codecs)
    expect(Buffer.from(store.get('record', 'a') ?? []).toString()).toBe(SECRET)
    await store.commit([put('a')])
    expect(rows(disk)).not.toContain('secret')
  })

  it('does not open a row that was moved to another key', async () => {
    const disk = new MemoryDisk()
    await new CodecStore(new MemoryStore({ disk }), codecs).commit([put('a')])
    const plain = new MemoryStore({ disk })
    await plain.commit([{ table: 'record', key: 'b', value: plain.get('record', 'a') }])
    const store = new CodecStore(plain, codecs)
    expect(() => store.get('record', 'b')).toThrow('cannot be decoded')
    expect(() => [...store.range('record', { from: '', to: '~' })]).toThrow('"b"')
  })

  it('reads what older keys have written, and says which key is missing', async () => {
    const disk = new MemoryDisk()
    await new CodecStore(new MemoryStore({ disk }), codecs).commit([put('a')])
    const open = (keys: Record<string, Uint8Array>): CodecStore =>
      new CodecStore(new MemoryStore({ disk }), createCodecs([encryption({ keys, current: 'k2' })]))
    const k2 = Buffer.alloc(32, 2)
    expect(Buffer.from(open({ k1: KEY, k2 }).get('record', 'a') ?? []).toString()).toBe(SECRET)
    expect(() => open({ k2 }).get('record', 'a')).toThrow(
      'the store cannot be read: row.record of a is encrypted by the key "k1"',
    )
  })
})
