import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'

import { hasCode } from '../errors.ts'
import { parseCron } from './cron.ts'

/** The next moments behind a time, as UTC. */
function next(pattern: string, timeZone: string, from: string, count = 3): readonly string[] {
  const times = parseCron(pattern, timeZone)
  const moments: string[] = []
  for (let ms = times.next(Date.parse(from)); ms !== undefined && moments.length < count; ms = times.next(ms))
    moments.push(new Date(ms).toISOString().replace(/:00\.000Z$/, 'Z'))
  return moments
}

describe('a cron pattern', () => {
  it('means the wall clock of its time zone, before and behind a change of the clocks', () => {
    expect(next('0 9 1 * *', 'Europe/Berlin', '2026-02-15T00:00Z')).toEqual([
      '2026-03-01T08:00Z',
      '2026-04-01T07:00Z',
      '2026-05-01T07:00Z',
    ])
    expect(next('0 9 1 * *', 'America/New_York', '2026-02-15T00:00Z', 2)).toEqual([
      '2026-03-01T14:00Z',
      '2026-04-01T13:00Z',
    ])
  })

  it('comes at the first moment behind the gap when its time of day does not exist', () => {
    expect(next('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00Z')).toEqual([
      '2026-03-28T01:30Z',
      '2026-03-29T01:00Z',
      '2026-03-30T00:30Z',
    ])
    expect(next('30 2 * * *', 'America/New_York', '2026-03-07T12:00Z', 2)).toEqual([
      '2026-03-08T07:00Z',
      '2026-03-09T06:30Z',
    ])
  })

  it('comes once when its time of day comes twice', () => {
    expect(next('30 2 * * *', 'Europe/Berlin', '2026-10-24T00:00Z')).toEqual([
      '2026-10-24T00:30Z',
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ])
    expect(next('30 1 * * *', 'America/New_York', '2026-11-01T05:30Z', 1)).toEqual(['2026-11-02T06:30Z'])
  })

  it('that repeats within the hour goes on through a change of the clocks', () => {
    expect(next('*/30 * * * *', 'Europe/Berlin', '2026-10-24T23:30Z', 5)).toEqual([
      '2026-10-25T00:00Z',
      '2026-10-25T00:30Z',
      '2026-10-25T01:00Z',
      '2026-10-25T01:30Z',
      '2026-10-25T02:00Z',
    ])
    expect(next('*/30 * * * *', 'America/New_York', '2026-03-08T06:30Z', 2)).toEqual([
      '2026-03-08T07:00Z',
      '2026-03-08T07:30Z',
    ])
  })

  it('knows leap years and the ends of months', () => {
    expect(next('0 0 29 2 *', 'UTC', '2026-01-01T00:00Z')).toEqual([
      '2028-02-29T00:00Z',
      '2032-02-29T00:00Z',
      '2036-02-29T00:00Z',
    ])
    expect(next('0 0 29 2 *', 'UTC', '2096-03-01T00:00Z', 1)).toEqual(['2104-02-29T00:00Z'])
    expect(next('0 12 L * *', 'Europe/Berlin', '2028-01-31T12:00Z')).toEqual([
      '2028-02-29T11:00Z',
      '2028-03-31T10:00Z',
      '2028-04-30T10:00Z',
    ])
    expect(next('0 0 31 * *', 'UTC', '2026-01-31T00:00Z', 2)).toEqual(['2026-03-31T00:00Z', '2026-05-31T00:00Z'])
  })

  it('takes seconds, names and nicknames', () => {
    expect(next('*/30 * * * * *', 'UTC', '2026-01-01T00:00Z', 2)).toEqual([
      '2026-01-01T00:00:30.000Z',
      '2026-01-01T00:01Z',
    ])
    expect(next('0 9 * * MON-FRI', 'UTC', '2026-01-02T09:00Z', 1)).toEqual(['2026-01-05T09:00Z'])
    expect(next('@monthly', 'Europe/Berlin', '2026-01-02T00:00Z', 1)).toEqual(['2026-01-31T23:00Z'])
  })

  it('gives its last moments up to another one, that one included', () => {
    const times = parseCron('0 9 1 * *', 'Europe/Berlin')
    const at = Date.parse('2026-04-01T07:00Z')
    expect(times.last(at, 2)).toEqual([Date.parse('2026-03-01T08:00Z'), at])
    expect(times.last(at - 1, 1)).toEqual([Date.parse('2026-03-01T08:00Z')])
  })

  it.each([
    ['61 * * * *', 'UTC', 'minute: 61'],
    ['* * *', 'UTC', 'has not 5 fields'],
    ['', 'UTC', 'has not 5 fields'],
    ['0 0 0 1 1 * 2030', 'UTC', 'has not 5 fields'],
    ['2026-01-05T00:00:00', 'UTC', 'has not 5 fields'],
    ['@reboot', 'UTC', '@reboot'],
    ['0 0 30 2 *', 'UTC', 'no moment'],
    ['0 9 * * *', 'Mars/Olympus', 'not a time zone'],
    ['0 9 * * *', '', 'not a time zone'],
    [`${'1,'.repeat(98)}1 * * * *`, 'UTC', 'longer than 200'],
  ])('is refused with the pattern and the reason: %j in %s', (pattern, timeZone, reason) => {
    let refusal: unknown
    try {
      parseCron(pattern, timeZone)
    } catch (error) {
      refusal = error
    }
    expect(hasCode(refusal, 'INVALID_CRON')).toBe(true)
    expect(String(refusal)).toContain(pattern.slice(0, 20))
    expect(String(refusal)).toContain(reason)
  })

  it('does not depend on the time zone of the host', () => {
    const { TZ } = process.env
    const offsets = new Set<number>()
    const answers = new Set<string>()
    for (const zone of ['UTC', 'America/New_York', 'Asia/Kathmandu', 'Europe/Berlin']) {
      process.env['TZ'] = zone
      offsets.add(new Date(0).getTimezoneOffset())
      // The blanks make it another pattern to the cache of compiled ones.
      const pattern = `*/20 0-5 25-29 3,10 *${' '.repeat(offsets.size)}`
      answers.add(next(pattern, 'Europe/Berlin', '2026-03-20T00:00Z', 200).join())
    }
    if (TZ === undefined) delete process.env['TZ']
    else process.env['TZ'] = TZ
    expect(offsets.size).toBe(4)
    expect(answers.size).toBe(1)
  })

  it('does not ask the clock of the host', () => {
    const answers = ['1999-12-31T23:00Z', '2345-06-01T00:00Z'].map((now) => {
      vi.useFakeTimers({ now: Date.parse(now), toFake: ['Date'] })
      try {
        expect(new Date().toISOString().slice(0, 4)).toBe(now.slice(0, 4))
        // The blanks make it another pattern to the cache of compiled ones.
        return next(`30 2 * * *${' '.repeat(Number(now[0]))}`, 'Europe/Berlin', '2026-03-20T00:00Z', 30)
      } finally {
        vi.useRealTimers()
      }
    })
    expect(answers[0]).toEqual(answers[1])
    expect(answers[0]).toHaveLength(30)
  })

  it('has the moments that a walk over the wall clock finds, in any zone, around any change', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...CHANGES),
        fc.nat(23),
        fc.nat(59),
        fc.nat(2 * 24 * 60),
        ([timeZone, day], hour, minute, offsetMinutes) => {
          const startMs = Date.parse(`${day}T00:00Z`) - 36 * 3_600_000
          const wanted = dailyByWalking(timeZone, startMs, 4, hour, minute)
          const fromMs = startMs + offsetMinutes * 60_000
          const found = parseCron(`${minute} ${hour} * * *`, timeZone).next(fromMs)
          expect(found).toBe(wanted.find((ms) => ms > fromMs))
        },
      ),
      { numRuns: 2000 },
    )
  })
})

/** Days on which the clocks change, one hour or half an hour, at night or at midnight, there and back. */
const CHANGES = [
  ['Europe/Berlin', '2026-03-29'],
  ['Europe/Berlin', '2026-10-25'],
  ['America/New_York', '2026-03-08'],
  ['America/New_York', '2026-11-01'],
  ['Australia/Lord_Howe', '2026-10-03'],
  ['Australia/Lord_Howe', '2026-04-04'],
  ['America/Sao_Paulo', '2017-10-15'],
  ['Africa/Cairo', '2026-04-24'],
] as const

const DAY_MINUTES = 24 * 60
const walks = new Map<string, readonly (readonly [ms: number, date: string, minute: number])[]>()

/** Every minute of some days, as a clock on the wall shows it. */
function walk(timeZone: string, startMs: number, days: number): readonly (readonly [number, string, number])[] {
  const key = `${timeZone} ${startMs}`
  const known = walks.get(key)
  if (known !== undefined) return known
  const format = new Intl.DateTimeFormat('en-GB', { timeZone, dateStyle: 'short', timeStyle: 'short' })
  const minutes = Array.from({ length: days * DAY_MINUTES }, (_, index) => {
    const ms = startMs + index * 60_000
    const [date = '', time = ''] = format.format(ms).split(', ')
    const [hour = 0, minute = 0] = time.split(':').map(Number)
    return [ms, date, hour * 60 + minute] as const
  })
  walks.set(key, minutes)
  return minutes
}

/** The rule, minute by minute: each day at its first moment that has the time of day, else at the first that is past it. */
function dailyByWalking(
  timeZone: string,
  startMs: number,
  days: number,
  hour: number,
  minute: number,
): readonly number[] {
  const wanted = hour * 60 + minute
  const exact = new Map<string, number>()
  const later = new Map<string, number>()
  const firstDate = walk(timeZone, startMs, days)[0]?.[1]
  for (const [ms, date, at] of walk(timeZone, startMs, days)) {
    if (at === wanted && !exact.has(date)) exact.set(date, ms)
    // The first day is not whole: what is past there may have come before the walk.
    if (at > wanted && date !== firstDate && !later.has(date)) later.set(date, ms)
  }
  const skipped = [...later].filter(([date]) => !exact.has(date)).map(([, ms]) => ms)
  return [...exact.values(), ...skipped].toSorted((a, b) => a - b)
}
