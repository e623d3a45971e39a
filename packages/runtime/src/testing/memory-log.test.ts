import { describe, expect, it } from 'vitest'

import { encodeToken, type Partition, Subjects } from '../protocol/index.ts'
import { inputLogConformance } from './input-log-conformance.ts'
import { type AppendFault, MemoryLog, type MemoryLogOptions } from './memory-log.ts'

const subjects = new Subjects('test', 16)
const clock = { nowMs: () => Date.now() }

function place(options: Partial<MemoryLogOptions>): ReturnType<Parameters<typeof inputLogConformance>[1]> {
  const log = new MemoryLog({ subjects, clock, ...options })
  return Promise.resolve({
    log,
    subjects,
    trim: (firstSeq) => Promise.resolve(log.trim(firstSeq)),
    recreate: () => Promise.resolve(log.recreate()),
    dispose: () => Promise.resolve(),
  })
}

inputLogConformance('MemoryLog', () => place({}))
inputLogConformance('MemoryLog on microtasks', () => place({ schedule: queueMicrotask }))
inputLogConformance('MemoryLog that delivers late', () => place({ deliveryDelay: () => 3 }))

describe('MemoryLog with faults', () => {
  const subject = subjects.log(encodeToken('order'), encodeToken('1'), 'signal', encodeToken('pay'))
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  const append = (log: MemoryLog, text: string): Promise<number> =>
    log.append(subject, { headers: {}, payload: bytes(text) })
  const stored = (log: MemoryLog): string[] => log.messages.map((message) => new TextDecoder().decode(message.payload))

  function withFaults(...faults: (AppendFault | undefined)[]): MemoryLog {
    return new MemoryLog({ subjects, clock, onAppend: () => faults.shift() })
  }

  it('stores a message twice when its acknowledgement is lost, before the next of its instance', async () => {
    const log = withFaults('stored-twice', undefined)
    expect(await Promise.all([append(log, 'a'), append(log, 'b')])).toEqual([2, 3])
    expect(stored(log)).toEqual(['a', 'a', 'b'])
  })

  it('rejects an append that it stored, and one that it did not', async () => {
    const log = withFaults('stored-unacknowledged', 'not-stored')
    await expect(append(log, 'a')).rejects.toMatchObject({ code: 'NOT_ACKNOWLEDGED' })
    await expect(append(log, 'b')).rejects.toMatchObject({ code: 'NOT_ACKNOWLEDGED' })
    expect(stored(log)).toEqual(['a'])
  })

  it('runs the same way every time on a scheduler of its own', () => {
    const run = (): string[] => {
      const tasks: (() => void)[] = []
      const log = new MemoryLog({ subjects, clock: { nowMs: () => 0 }, schedule: (task) => void tasks.push(task) })
      const seen: string[] = []
      log.read({
        partitions: [subjects.partitionOf(encodeToken('order'), encodeToken('1'))],
        fromSeq: 1,
        onMessages: (messages) => {
          seen.push(`deliver ${messages.map((message) => message.seq).join()} of ${log.lastSeq}`)
          return Promise.resolve()
        },
        onFailed: (error) => seen.push(String(error)),
      })
      const appends = ['a', 'b', 'c'].map((text) => append(log, text))
      for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task()
      return [...seen, `${appends.length} appends`]
    }
    expect(run()).toEqual(run())
  })

  it('fails a reader that read what the log has lost, also when the log has grown again', async () => {
    const log = withFaults()
    await append(log, 'a')
    await append(log, 'b')
    const failures: unknown[] = []
    let count = 0
    await new Promise<void>((resolve) => {
      log.read({
        partitions: Array.from({ length: 16 }, (_, number) => number as Partition),
        fromSeq: 1,
        onMessages: (messages) => {
          count += messages.length
          if (count === 2) {
            log.truncate(1)
            log.store(subject, { headers: {}, payload: bytes('other') })
            log.store(subject, { headers: {}, payload: bytes('more') })
          }
          return Promise.resolve()
        },
        onFailed: (error) => {
          failures.push(error)
          resolve()
        },
      })
    })
    expect(failures).toMatchObject([{ code: 'JOURNAL_BEHIND' }])
  })
})
