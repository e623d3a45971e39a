import { describe, expect, it } from 'vitest'

import { type JudgeLimits, type Sight, type ThreadTimes, TurnJudge } from './turn-judge.ts'

const LIMITS: JudgeLimits = { cpuMsMax: 500, blockedMsMax: 10_000, wallMsMax: 5000, lookEveryMs: 50 }

/** A thread whose time passes as the test says, looked at every 50 ms. */
class Thread {
  readonly judge = new TurnJudge()
  nowMs = 0
  cpuMs = 1000
  queuedMs = 0
  count = 1
  isRunning = true
  tellsTimes = true

  /** For so long; true when it was judged. */
  pass(
    ms: number,
    share: { readonly cpu?: number; readonly queued?: number; readonly everyMs?: number } = {},
  ): boolean {
    const { cpu = 1, queued = 0, everyMs = LIMITS.lookEveryMs } = share
    for (let leftMs = ms; leftMs > 0; leftMs -= everyMs) {
      this.nowMs += everyMs
      this.cpuMs += everyMs * cpu
      this.queuedMs += everyMs * queued
      if (this.judge.look(this.#sight, LIMITS)) return true
    }
    return false
  }

  get #sight(): Sight {
    const { nowMs, cpuMs, queuedMs, count, isRunning } = this
    const times: ThreadTimes | undefined = this.tellsTimes ? { cpuMs, queuedMs } : undefined
    return { nowMs, times, count, isRunning }
  }
}

describe('a turn is judged', () => {
  it('when it has computed for longer than the limit, and not before', () => {
    const thread = new Thread()
    expect(thread.pass(500)).toBe(false)
    expect(thread.pass(100)).toBe(true)
  })

  it('by what the thread computes: on a starved machine it gets the time it needs', () => {
    const thread = new Thread()
    expect(thread.pass(4000, { cpu: 0.1, queued: 0.9 })).toBe(false)
    expect(thread.pass(2000, { cpu: 0.1, queued: 0.9 })).toBe(true)
  })

  it('when it blocks without computing, after a much longer time', () => {
    const thread = new Thread()
    expect(thread.pass(9900, { cpu: 0 })).toBe(false)
    expect(thread.pass(500, { cpu: 0 })).toBe(true)
  })

  it('never for the time in which it waits for a processor', () => {
    expect(new Thread().pass(3_600_000, { cpu: 0, queued: 1 })).toBe(false)
  })

  it('never for the time in which the judge did not run either: the process was stopped', () => {
    const thread = new Thread()
    expect(thread.pass(100)).toBe(false)
    expect(thread.pass(600_000, { cpu: 0, everyMs: 600_000 })).toBe(false)
    expect(thread.pass(300)).toBe(false)
    expect(thread.pass(200)).toBe(true)
  })

  it('by the clock, with a longer limit, where the system does not tell what a thread computes', () => {
    const thread = new Thread()
    thread.tellsTimes = false
    expect(thread.pass(4900)).toBe(false)
    expect(thread.pass(300)).toBe(true)
  })
})

describe('turns that end', () => {
  it('begin anew each: many short ones are never judged together', () => {
    const thread = new Thread()
    for (let turn = 0; turn < 100; turn++) {
      thread.count += 1
      expect(thread.pass(400)).toBe(false)
    }
  })

  it('are not judged for what is computed between them', () => {
    const thread = new Thread()
    expect(thread.pass(400)).toBe(false)
    thread.isRunning = false
    expect(thread.pass(10_000)).toBe(false)
    thread.isRunning = true
    expect(thread.pass(400)).toBe(false)
  })
})
