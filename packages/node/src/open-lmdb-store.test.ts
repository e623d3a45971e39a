import { type ChildProcess, spawn } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { silentLogger, type Table, type Write } from '@carillon/runtime/ports'
import { open as openLmdb } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { LOCK_FILE, lockDirectory } from './directory-lock.ts'
import { DATA_FILE } from './lmdb-environment.ts'
import { MARKER_FILE, STORE_FORMAT } from './lmdb-header.ts'
import { openLmdbStore, type OpenedLmdbStore } from './open-lmdb-store.ts'

const cluster = { clusterId: 'c1', clusterName: 'shop', logIdentity: 'j1' }
const writerPath = fileURLToPath(new URL('../test/store-writer.ts', import.meta.url))
const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const writer = [process.execPath, '--conditions=source', '--import', loader, writerPath] as const

describe('openLmdbStore', () => {
  let path: string
  let children: ChildProcess[]
  let opened: OpenedLmdbStore[]

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'carillon-store.'))
    children = []
    opened = []
  })

  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL')
    for (const { store } of opened) await store.close()
    rmSync(path, { recursive: true, force: true })
  })

  const dataFile = (): string => join(path, DATA_FILE)

  async function open(options: { readonly verify?: boolean } & Partial<typeof cluster> = {}): Promise<OpenedLmdbStore> {
    const { verify = false, ...owner } = options
    const result = await openLmdbStore({ path, cluster: { ...cluster, ...owner }, log: silentLogger, verify })
    opened.push(result)
    return result
  }

  /** Fills a directory with rows of several sizes in two tables, and closes it. */
  async function fill(rows = 3000): Promise<void> {
    const { store } = await open()
    for (let start = 0; start < rows; start += 500)
      await store.commit(Array.from({ length: 500 }, (_, i) => filled(start + i)))
    await store.close()
  }

  function filled(i: number): Write {
    const key = `00${(i % 64).toString(16).padStart(2, '0')}/order.${String(i).padStart(6, '0')}`
    return {
      table: i % 3 === 0 ? 'timer' : 'record',
      key,
      value: Buffer.alloc(20 + ((i * 37) % (i % 50 === 0 ? 9000 : 400)), i & 255),
    }
  }

  function start(mode: 'commit' | 'fill' | 'hold', command: readonly string[] = writer): Writer {
    const [program = '', ...args] = command
    const child = spawn(program, [...args, path, mode], { stdio: ['pipe', 'pipe', 'pipe'] })
    children.push(child)
    return new Writer(child)
  }

  describe('a directory in order', () => {
    it('is fresh at first, existing then, and keeps its header', async () => {
      const first = await open()
      expect(first.opened).toBe('fresh')
      await first.store.commit([{ table: 'meta', key: 'k', value: Uint8Array.of(7) }])
      await first.store.close()
      const second = await open()
      expect(second).toMatchObject({ opened: 'existing', header: first.header })
      expect(second.setAside).toBeUndefined()
      expect(second.store.get('meta', 'k')).toEqual(Uint8Array.of(7))
    })

    it('may have lost its marker', async () => {
      await fill(500)
      rmSync(join(path, MARKER_FILE))
      expect((await open()).opened).toBe('existing')
      expect(existsSync(join(path, MARKER_FILE))).toBe(true)
    })

    it('is checked as a whole when asked', async () => {
      await fill()
      expect((await open({ verify: true })).opened).toBe('existing')
    })
  })

  describe('a directory of something else', () => {
    it.each([true, false])('is refused with both names and left alone (marker there: %s)', async (hasMarker) => {
      await fill(500)
      if (!hasMarker) rmSync(join(path, MARKER_FILE))
      const before = readFileSync(dataFile())
      const refused = await open({ clusterId: 'c2', clusterName: 'bank' }).catch((error: unknown) => error)
      expect(refused).toMatchObject({
        code: 'FOREIGN_DATA',
        message: expect.stringMatching(/shop \(c1\).*bank \(c2\).*another data directory/) as string,
      })
      expect(readFileSync(dataFile()).equals(before)).toBe(true)
      expect((await open()).opened).toBe('existing')
    })

    it('is refused when a later release wrote it', async () => {
      await fill(500)
      const marker = readFileSync(join(path, MARKER_FILE), 'utf8')
      writeFileSync(join(path, MARKER_FILE), marker.replace(`"format": ${STORE_FORMAT}`, '"format": 999'))
      await expect(open()).rejects.toMatchObject({
        code: 'FOREIGN_DATA',
        message: expect.stringContaining('format 999') as string,
      })
    })

    it('is refused when its journal was replaced', async () => {
      await fill(500)
      await expect(open({ logIdentity: 'j2' })).rejects.toMatchObject({
        code: 'JOURNAL_REPLACED',
        message: expect.stringMatching(/j1.*j2/) as string,
      })
    })

    it('is set aside when its tables have lost their names: the marker beside it says whose it is', async () => {
      await fill(500)
      rmSync(join(path, DATA_FILE))
      const nameless = openLmdb({ path, noSubdir: false })
      await nameless.put('recor\u0000', 'data')
      await nameless.close()
      const { store, opened, setAside } = await open()
      expect({ opened, setAside }).toMatchObject({ opened: 'rebuilt', setAside: expect.stringContaining('damaged-') })
      await store.close()
    })

    it('is refused when another program keeps its LMDB there', async () => {
      const other = openLmdb({ path, noSubdir: false })
      await other.put('their', 'data')
      await other.close()
      await expect(open()).rejects.toMatchObject({ code: 'FOREIGN_DATA' })
      expect(readdirSync(path)).toContain(DATA_FILE)
    })

    it('is refused when it is a file', async () => {
      rmSync(path, { recursive: true })
      writeFileSync(path, '')
      await expect(open()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    })
  })

  describe('a directory in use', () => {
    it('is refused to the same process', async () => {
      await open()
      await expect(open()).rejects.toMatchObject({
        code: 'DATA_IN_USE',
        message: expect.stringContaining(String(process.pid)) as string,
      })
    })

    it('is refused while another process has it, and free as soon as that is killed', async () => {
      const holder = start('hold')
      await holder.line()
      await expect(open()).rejects.toMatchObject({
        code: 'DATA_IN_USE',
        message: expect.stringContaining(String(holder.pid)) as string,
      })
      await holder.kill()
      expect((await open()).opened).toBe('existing')
    })

    it('is free again after a refusal and after a close', async () => {
      await (await open()).store.close()
      await expect(open({ clusterId: 'c2' })).rejects.toMatchObject({ code: 'FOREIGN_DATA' })
      expect((await open()).opened).toBe('existing')
    })

    describe('without the flock program', () => {
      const options = { flockProgram: 'no-such-flock' }

      it('is refused while its process lives', async () => {
        const lock = await lockDirectory(path, options)
        await expect(lockDirectory(path, options)).rejects.toMatchObject({ code: 'DATA_IN_USE' })
        lock.release()
        ;(await lockDirectory(path, options)).release()
      })

      it('is free when its process was killed', async () => {
        const holder = start('hold')
        await holder.line()
        await expect(lockDirectory(path, options)).rejects.toMatchObject({ code: 'DATA_IN_USE' })
        await holder.kill()
        ;(await lockDirectory(path, options)).release()
      })

      it('is free when another process has the id of the one that had it', async () => {
        await lockDirectory(path, options)
        const file = join(path, LOCK_FILE)
        const holder = JSON.parse(readFileSync(file, 'utf8')) as object
        writeFileSync(file, JSON.stringify({ ...holder, started: 'an earlier start' }))
        await expect(lockDirectory(path, options)).resolves.toBeDefined()
      })
    })
  })

  describe('a damaged directory', () => {
    /** Opens what a fault has left: rebuilt with the damage set aside, or all there; in both cases usable. */
    async function expectUsable(rows = 3000): Promise<OpenedLmdbStore['opened']> {
      const result = await open()
      if (result.opened === 'existing') {
        for (let i = 0; i < rows; i++) {
          const { table, key, value } = filled(i)
          expect(Buffer.compare(result.store.get(table, key) ?? Buffer.alloc(0), value!)).toBe(0)
        }
      } else {
        expect(result.opened).toBe('rebuilt')
        for (const table of ['record', 'timer'] as const)
          expect([...result.store.range(table, { from: '', to: '~' })]).toEqual([])
        expect(existsSync(result.setAside ?? '')).toBe(true)
      }
      for (let batch = 0; batch < 5; batch++) {
        await result.store.commit(
          Array.from({ length: 300 }, (_, i) => ({ table: 'effect', key: `e${i}`, value: Buffer.alloc(500, batch) })),
        )
      }
      expect(result.store.get('effect', 'e299')?.[0]).toBe(4)
      await result.store.close()
      expect((await open()).opened).toBe('existing')
      await opened.at(-1)?.store.close()
      return result.opened
    }

    it.each(['closed', 'killed'])(
      'is noticed wherever its file was cut when it was %s before',
      async (end) => {
        await fill()
        if (end === 'killed') forgetSize()
        const whole = `${path}.whole`
        copyFileSync(dataFile(), whole)
        const size = statSync(whole).size
        const cuts = [
          1,
          100,
          4096,
          5000,
          8192,
          8200,
          12_288,
          40_960,
          size >> 2,
          size >> 1,
          size - 65_536,
          size - 8192,
          size - 4096,
          size - 1,
        ]
        const seen = []
        for (const length of cuts) {
          copyFileSync(whole, dataFile())
          if (end === 'killed') forgetSize()
          truncateSync(dataFile(), length)
          seen.push(await expectUsable())
          for (const name of readdirSync(path))
            if (name.startsWith('damaged-')) rmSync(join(path, name), { recursive: true })
          rmSync(join(path, 'lock.mdb'), { force: true })
        }
        rmSync(whole)
        expect(seen.filter((state) => state === 'rebuilt').length).toBeGreaterThan(cuts.length - 3)
      },
      60_000,
    )

    it.each([
      ['its first page', 0, 4096],
      ['both of its meta pages', 0, 8192],
      ['its second half', 0.5, 1],
      ['all of it', 0, 1],
    ])('is noticed when %s has been zeroed', async (_, from, to) => {
      await fill()
      const { size } = statSync(dataFile())
      overwrite(
        from < 1 ? Math.floor(from * size) : from,
        Buffer.alloc((to <= 1 ? size : to) - (from < 1 ? Math.floor(from * size) : from)),
      )
      expect(await expectUsable()).toBe('rebuilt')
    })

    it('is noticed when it holds noise', async () => {
      await fill(500)
      writeFileSync(dataFile(), Buffer.alloc(100_000, 'noise'))
      expect(await expectUsable()).toBe('rebuilt')
    })

    it.each(['emptied', 'lost'])('is noticed when its file was %s', async (how) => {
      await fill(500)
      if (how === 'emptied') truncateSync(dataFile(), 0)
      else rmSync(dataFile())
      expect(await expectUsable()).toBe('rebuilt')
    })

    it('is noticed when LMDB was emptied and opened by something else since', async () => {
      await fill(500)
      rmSync(dataFile())
      const other = openLmdb({ path, noSubdir: false })
      other.openDB({ name: 'record' })
      await other.close()
      expect(await expectUsable()).toBe('rebuilt')
    })

    it('survives any one flipped bit of its pages of data', async () => {
      const states = new Map<string, number>()
      await fill(1000)
      const whole = `${path}.whole`
      copyFileSync(dataFile(), whole)
      const { size } = statSync(whole)
      for (let i = 0; i < 8; i++) {
        copyFileSync(whole, dataFile())
        const at = 8192 + ((i * 1_700_003) % (size - 8192))
        overwrite(at, Buffer.of(readFileSync(whole)[at]! ^ (1 << (i % 8))))
        const { opened: state, store } = await open({ verify: true })
        states.set(state, (states.get(state) ?? 0) + 1)
        // What the check let through reads as it was written: the flip hit no row.
        if (state === 'existing')
          for (let k = 0; k < 1000; k++)
            expect(store.get(filled(k).table, filled(k).key)).toEqual(new Uint8Array(filled(k).value!))
        await store.close()
        for (const name of readdirSync(path))
          if (name.startsWith('damaged-')) rmSync(join(path, name), { recursive: true })
        rmSync(join(path, 'lock.mdb'), { force: true })
      }
      rmSync(whole)
      expect(states.get('rebuilt')).toBeGreaterThan(0)
    }, 60_000)

    it('gives a flipped value as damaged, with table and key, and every other row', async () => {
      const { store } = await open()
      const mark = Buffer.from('here is the value that will be flipped')
      // More rows than the check samples on both sides.
      await store.commit(
        Array.from({ length: 20_000 }, (_, i) => ({
          table: 'record',
          key: `0001/order.${100_000 + i}`,
          value: Buffer.alloc(30, i & 255),
        })),
      )
      await store.commit([{ table: 'record', key: '0001/order.110000', value: mark }])
      await store.close()
      const bytes = readFileSync(dataFile())
      for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) overwrite(at + 5, Buffer.from('X'))
      const again = await open()
      if (again.opened === 'existing') {
        const damaged: unknown = expect.objectContaining({
          code: 'SNAPSHOT_DAMAGED',
          details: { table: 'record', key: '0001/order.110000' },
        })
        expect(() => again.store.get('record', '0001/order.110000')).toThrow(damaged)
        expect(() => [...again.store.range('record', { from: '', to: '~' })]).toThrow(damaged)
        expect(again.store.get('record', '0001/order.110001')).toEqual(new Uint8Array(30).fill(10_001 & 255))
        await again.store.close()
      }
      if (again.opened === 'existing') expect((await open({ verify: true })).opened).toBe('rebuilt')
    })

    it('is read as a whole after two ends without a close, so that no damaged page ends the process for ever', async () => {
      await fill()
      for (const end of [1, 2]) {
        const holder = start('hold')
        expect(await holder.line()).toEqual({ opened: 'existing' })
        await holder.kill()
        expect(JSON.parse(readFileSync(join(path, MARKER_FILE), 'utf8'))).toMatchObject({ uncleanOpens: end })
      }
      const { table, key, value } = filled(1500)
      const bytes = readFileSync(dataFile())
      for (let at = bytes.indexOf(value!); at >= 0; at = bytes.indexOf(value!, at + 1))
        overwrite(at + 3, Buffer.from([255]))
      expect([table, key]).toHaveLength(2)
      expect((await open()).opened).toBe('rebuilt')
    })

    it('keeps three sets of damaged files at most', async () => {
      for (let i = 0; i < 5; i++) {
        await (await open()).store.close()
        truncateSync(dataFile(), 5000)
      }
      const { setAside } = await open()
      const kept = readdirSync(path).filter((name) => name.startsWith('damaged-'))
      expect(kept).toHaveLength(3)
      expect(kept.map((name) => join(path, name))).toContain(setAside)
    })
  })

  describe('a process that is killed while it commits', () => {
    it('leaves every batch whole, and every one that it heard of', async () => {
      let last = 0
      for (let round = 0; round < 8; round++) {
        const committing = start('commit')
        await committing.until((line) => 'committed' in line && Number(line['committed']) >= 5 + round * 13)
        await committing.kill()
        const heard = committing.lines.reduce((most, line) => Math.max(most, Number(line['committed'] ?? 0)), 0)
        const { opened: state, store } = await open()
        expect(state).toBe('existing')
        const numbers = new Set<number>()
        const tables: Table[] = ['record', 'effect']
        for (const table of tables)
          for (const { value } of store.range(table, { from: '', to: '~' }))
            numbers.add(Buffer.from(value).readUInt32LE())
        expect([...numbers]).toHaveLength(1)
        last = Math.max(...numbers)
        expect(last).toBeGreaterThanOrEqual(heard)
        await store.close()
      }
      expect(last).toBeGreaterThan(0)
    }, 60_000)
  })

  describe('a disk that is full', () => {
    it('fails the commit with nothing of it visible and nothing unhandled, and closes', async () => {
      // Blocks of 512 bytes: LMDB's file may grow to 4 MiB.
      const limited = start('fill', ['sh', '-c', 'ulimit -f 8192; exec "$@"', 'sh', ...writer])
      const failed = await limited.until((line) => 'error' in line)
      expect(failed).toMatchObject({ error: { code: 'STORAGE_FAILED' }, failed: 0, previous: 100 })
      expect(failed['message']).toMatch(/could not be written to .*Free space on the disk/)
      expect(await limited.until((line) => 'closed' in line)).toEqual({ closed: true, unhandled: [] })
      const { opened: state, store } = await open()
      expect(state).toBe('existing')
      await store.commit([{ table: 'record', key: 'after', value: Uint8Array.of(1) }])
      expect(store.get('record', 'after')).toEqual(Uint8Array.of(1))
    })
  })

  /** Makes the marker what it is after a first opening that was killed: the check has LMDB's own word only. */
  function forgetSize(): void {
    const file = join(path, MARKER_FILE)
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"dataBytes": \d+/, '"dataBytes": 0'))
  }

  function overwrite(at: number, bytes: Buffer): void {
    const descriptor = openSync(dataFile(), 'r+')
    writeSync(descriptor, bytes, 0, bytes.length, at)
    closeSync(descriptor)
  }
})

/** The store-writer program as a child: its lines, in order. */
class Writer {
  readonly lines: Record<string, unknown>[] = []
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #wake: () => void = () => {}
  #errors = ''

  constructor(child: ChildProcess) {
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#errors += text))
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Record<string, unknown>)
      this.#wake()
    })
    this.#ended = new Promise((resolve) => {
      child.once('close', () => {
        resolve()
        this.#wake()
      })
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  line(): Promise<Record<string, unknown>> {
    return this.until(() => true)
  }

  async until(matches: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.lines.find(matches)
      if (found !== undefined) return found
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`the writer ended: ${this.#errors}`)
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}
