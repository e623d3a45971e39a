/**
 * What every `InputLog` does, as tests. Imports vitest, so it is not part of the package's `testing` entry: import it
 * by its path.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import type { InputLog, LogMessage, LogReader } from '../ports/index.ts'
import { encodeToken, type Partition, type Subjects } from '../protocol/index.ts'

/** One log under test, in a place of its own. */
export interface LogUnderTest {
  readonly log: InputLog
  /** At least 8 partitions. */
  readonly subjects: Subjects
  /** Removes the messages below a sequence. */
  trim(firstSeq: number): Promise<void>
  /** Deletes the stream and makes it anew, empty. */
  recreate(): Promise<void>
  dispose(): Promise<void>
}

/** Collects what a reader delivers. */
interface Collected {
  readonly messages: LogMessage[]
  readonly failures: unknown[]
  readonly reader: LogReader
}

const WAIT = { timeout: 10_000, interval: 5 }

/** Runs the contract of the port against the logs that `open` makes. */
export function inputLogConformance(name: string, open: () => Promise<LogUnderTest>): void {
  describe(`${name} as an input log`, () => {
    let place: LogUnderTest
    let readers: LogReader[] = []

    beforeEach(async () => {
      place = await open()
    })

    afterEach(async () => {
      await Promise.all(readers.map((reader) => reader.close()))
      readers = []
      await place.dispose()
    })

    const everyPartition = (): Partition[] =>
      Array.from({ length: place.subjects.partitions }, (_, number) => number as Partition)

    const subjectOf = (id: string, name = 'pay'): string =>
      place.subjects.log(encodeToken('order'), encodeToken(id), 'signal', encodeToken(name))

    const partitionOf = (id: string): Partition => place.subjects.partitionOf(encodeToken('order'), encodeToken(id))

    const append = (id: string, text: string, headers: Record<string, string> = {}): Promise<number> =>
      place.log.append(subjectOf(id), { headers, payload: new TextEncoder().encode(text) })

    function read(
      fromSeq: number,
      options: {
        partitions?: readonly Partition[]
        onMessages?: (messages: readonly LogMessage[], throughSeq: number) => Promise<void>
      } = {},
    ): Collected {
      const messages: LogMessage[] = []
      const failures: unknown[] = []
      const reader = place.log.read({
        partitions: options.partitions ?? everyPartition(),
        fromSeq,
        async onMessages(batch, throughSeq) {
          await options.onMessages?.(batch, throughSeq)
          messages.push(...batch)
        },
        onFailed: (error) => failures.push(error),
      })
      readers.push(reader)
      return { messages, failures, reader }
    }

    const textOf = (message: LogMessage): string => new TextDecoder().decode(message.payload)

    const expectFailure = async ({ failures }: Collected, code: string): Promise<void> => {
      await vi.waitFor(() => expect(failures).toHaveLength(1), WAIT)
      expect(failures[0]).toMatchObject({ code })
    }

    describe('bounds', () => {
      it('of an empty log begin at 1 and end at 0', async () => {
        const bounds = await place.log.bounds()
        expect(bounds).toMatchObject({ firstSeq: 1, lastSeq: 0 })
        expect(bounds.identity).not.toBe('')
      })

      it('follow appends and trimming under one identity', async () => {
        const { identity } = await place.log.bounds()
        for (const text of ['a', 'b', 'c']) await append('1', text)
        expect(await place.log.bounds()).toEqual({ identity, firstSeq: 1, lastSeq: 3 })
        await place.trim(3)
        expect(await place.log.bounds()).toEqual({ identity, firstSeq: 3, lastSeq: 3 })
        await place.trim(4)
        expect(await place.log.bounds()).toEqual({ identity, firstSeq: 4, lastSeq: 3 })
      })
    })

    describe('append', () => {
      it('gives rising sequences from 1', async () => {
        expect([await append('1', 'a'), await append('2', 'b'), await append('1', 'c')]).toEqual([1, 2, 3])
      })

      it('keeps subject, payload, headers and the time', async () => {
        const before = Date.now()
        const headers = { 'Carillon-Id': 'Größe 42 / ✓', 'Carillon-Encoding': 'msgpack' }
        await append('a.b>*', 'payload', headers)
        const { messages } = read(1)
        await vi.waitFor(() => expect(messages).toHaveLength(1), WAIT)
        const [message] = messages
        expect(message).toMatchObject({ subject: subjectOf('a.b>*'), seq: 1 })
        expect(message === undefined ? '' : textOf(message)).toBe('payload')
        expect(message?.header('Carillon-Id')).toBe(headers['Carillon-Id'])
        expect(message?.header('Carillon-Encoding')).toBe('msgpack')
        expect(message?.header('Carillon-Reply')).toBeUndefined()
        expect(message?.header('toString')).toBeUndefined()
        expect(message?.timeMs).toBeGreaterThanOrEqual(before - 1)
        expect(message?.timeMs).toBeLessThanOrEqual(Date.now() + 1)
      })

      it('keeps an empty payload without headers', async () => {
        await append('1', '')
        const { messages } = read(1)
        await vi.waitFor(() => expect(messages).toHaveLength(1), WAIT)
        expect(messages[0]?.payload).toHaveLength(0)
        expect(messages[0]?.header('Carillon-Id')).toBeUndefined()
      })

      it('keeps the order of the calls per instance, many at once', async () => {
        const calls = Array.from({ length: 2000 }, (_, i) => [String(i % 7), `${i}`] as const)
        const seqs = await Promise.all(calls.map(([id, text]) => append(id, text)))
        const { messages } = read(1)
        await vi.waitFor(() => expect(messages).toHaveLength(2000), WAIT)
        for (let id = 0; id < 7; id++) {
          const stored = messages.filter((message) => message.subject === subjectOf(String(id))).map(textOf)
          expect(stored).toEqual(calls.filter((call) => call[0] === String(id)).map((call) => call[1]))
        }
        for (const message of messages) expect(seqs[Number(textOf(message))]).toBe(message.seq)
      })

      it.each(['a\r\nNats-Rollup: all', 'a\nb', '\u0000', ' a', 'a '])(
        'refuses the header value %j and stores nothing',
        async (value) => {
          await expect(append('1', 'x', { 'Carillon-Id': value })).rejects.toMatchObject({ code: 'INVALID_ID' })
          expect(await append('1', 'y')).toBe(1)
        },
      )
    })

    describe('read', () => {
      it('delivers in rising sequence without gaps, and goes on with what is appended later', async () => {
        for (let i = 0; i < 10; i++) await append(String(i), `${i}`)
        const { messages } = read(1)
        await vi.waitFor(() => expect(messages).toHaveLength(10), WAIT)
        for (let i = 10; i < 20; i++) await append(String(i), `${i}`)
        await vi.waitFor(() => expect(messages).toHaveLength(20), WAIT)
        expect(messages.map((message) => message.seq)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
      })

      it('begins at the sequence that was asked for, also right behind the last', async () => {
        for (const text of ['a', 'b', 'c']) await append('1', text)
        const middle = read(3)
        const behind = read(4)
        await append('1', 'd')
        await vi.waitFor(() => expect(behind.messages.map(textOf)).toEqual(['d']), WAIT)
        await vi.waitFor(() => expect(middle.messages.map(textOf)).toEqual(['c', 'd']), WAIT)
      })

      it('delivers the own partitions only, to each of several readers', async () => {
        const ids = Array.from({ length: 64 }, (_, i) => `id-${i}`)
        await Promise.all(ids.map((id) => append(id, id)))
        const isEven = (id: string): boolean => partitionOf(id) % 2 === 0
        const even = read(1, { partitions: everyPartition().filter((partition) => partition % 2 === 0) })
        const odd = read(1, { partitions: everyPartition().filter((partition) => partition % 2 === 1) })
        await vi.waitFor(() => expect(even.messages.length + odd.messages.length).toBe(64), WAIT)
        expect(even.messages.map(textOf).sort()).toEqual(ids.filter(isEven).sort())
        expect(odd.messages.map(textOf).sort()).toEqual(ids.filter((id) => !isEven(id)).sort())
      })

      it('tells how far it has read, also where all of it is of other partitions', async () => {
        const foreign = 'a'
        const other = partitionOf(foreign)
        const own = ['b', 'c', 'd', 'e', 'f', 'g'].find((id) => partitionOf(id) !== other) as string
        const told: number[] = []
        const collected = read(1, {
          partitions: everyPartition().filter((partition) => partition !== other),
          async onMessages(batch, throughSeq) {
            expect(throughSeq).toBeGreaterThan(told.at(-1) ?? 0)
            expect(throughSeq).toBeGreaterThanOrEqual(batch.at(-1)?.seq ?? 0)
            told.push(throughSeq)
          },
        })
        for (let i = 0; i < 10; i++) await append(foreign, `${i}`)
        await vi.waitFor(() => expect(told.at(-1)).toBe(10), WAIT)
        expect(collected.messages).toEqual([])
        await append(own, 'mine')
        await append(foreign, 'not mine')
        await vi.waitFor(() => expect(told.at(-1)).toBe(12), WAIT)
        expect(collected.messages.map(textOf)).toEqual(['mine'])
        expect(collected.failures).toEqual([])
      })

      it('delivers for added partitions from behind what it has looked at, and no more for removed ones', async () => {
        const [first = '', second = ''] = ['1', '2', '3', '4', '5'].filter(
          (id, i, all) => i === 0 || partitionOf(id) !== partitionOf(all[0] as string),
        )
        const told: number[] = []
        const collected = read(1, {
          partitions: [partitionOf(first)],
          onMessages: async (_, throughSeq) => void told.push(throughSeq),
        })
        for (const id of [first, second, first, second]) await append(id, id)
        await vi.waitFor(() => expect(told.at(-1)).toBe(4), WAIT)
        expect(collected.reader.setPartitions([partitionOf(second)])).toBe(4)
        for (const id of [first, second, first, second]) await append(id, id)
        await vi.waitFor(() => expect(told.at(-1)).toBe(8), WAIT)
        expect(collected.messages.map(({ seq }) => seq)).toEqual([1, 3, 6, 8])
      })

      it('gives a subject that names no partition to the reader of partition 0', async () => {
        const junk = `${place.subjects.namespace}.log.junk`
        await place.log.append(junk, { headers: {}, payload: new Uint8Array(0) })
        const zero = read(1, { partitions: [0 as Partition] })
        await vi.waitFor(() => expect(zero.messages.map((message) => message.subject)).toEqual([junk]), WAIT)
      })

      it('awaits onMessages before it delivers more, and loses nothing meanwhile', async () => {
        let running = 0
        let most = 0
        const collected = read(1, {
          async onMessages() {
            running += 1
            most = Math.max(most, running)
            await new Promise((resolve) => setImmediate(resolve))
            running -= 1
          },
        })
        await Promise.all(Array.from({ length: 500 }, (_, i) => append(String(i % 5), `${i}`)))
        await vi.waitFor(() => expect(collected.messages).toHaveLength(500), WAIT)
        expect(most).toBe(1)
      })

      it('delivers nothing after close, and close waits for what is being delivered', async () => {
        let release = (): void => undefined
        const held = new Promise<void>((resolve) => {
          release = resolve
        })
        let entered = 0
        const { messages, reader, failures } = read(1, {
          async onMessages() {
            entered += 1
            await held
          },
        })
        await append('1', 'a')
        await vi.waitFor(() => expect(entered).toBe(1), WAIT)
        let isClosed = false
        const closed = reader.close().then(() => {
          isClosed = true
        })
        await append('1', 'b')
        expect(isClosed).toBe(false)
        release()
        await closed
        expect(messages.map(textOf)).toEqual(['a'])
        expect(entered).toBe(1)
        expect(failures).toEqual([])
      })

      it('fails with what onMessages throws', async () => {
        const collected = read(1, {
          onMessages: () => Promise.reject(Object.assign(new Error('full'), { code: 'STORAGE_FAILED' })),
        })
        await append('1', 'a')
        await expectFailure(collected, 'STORAGE_FAILED')
      })
    })

    describe('a journal that is not what it was', () => {
      it('fails a reader that begins below the first sequence', async () => {
        for (const text of ['a', 'b', 'c']) await append('1', text)
        await place.trim(3)
        await expectFailure(read(2), 'JOURNAL_BEHIND')
      })

      it('fails a reader that begins behind the end', async () => {
        await append('1', 'a')
        await expectFailure(read(3), 'JOURNAL_BEHIND')
      })

      it('fails a reader that stood still while the log was trimmed past it', async () => {
        let release = (): void => undefined
        const held = new Promise<void>((resolve) => {
          release = resolve
        })
        let entered = 0
        const collected = read(1, {
          async onMessages() {
            entered += 1
            await held
          },
        })
        await append('1', 'a')
        await vi.waitFor(() => expect(entered).toBe(1), WAIT)
        // More than any reader keeps ready, so that trimming reaches what it has not got yet.
        const payload = new Uint8Array(0)
        for (let i = 0; i < 20; i++)
          await Promise.all(
            Array.from({ length: 500 }, (_, k) => place.log.append(subjectOf(String(k)), { headers: {}, payload })),
          )
        await place.trim(9000)
        release()
        await expectFailure(collected, 'JOURNAL_BEHIND')
        expect(collected.messages.every((message, i) => message.seq === i + 1)).toBe(true)
      })

      it('fails a reader when the stream is made anew', async () => {
        await append('1', 'a')
        const collected = read(1)
        await vi.waitFor(() => expect(collected.messages).toHaveLength(1), WAIT)
        await place.recreate()
        await expectFailure(collected, 'JOURNAL_REPLACED')
      })
    })
  })
}
