import { describe, expect, it } from 'vitest'

import type { InstanceKey, Partition } from '@carillon/runtime/protocol'

import { CrashJudge } from './crash-judge.ts'
import { type GuardWord, lastWord } from './guard-words.ts'
import type { Shown } from './turn-board.ts'

const turn = (seq: number): Shown => ({ kind: 'turn', partition: 3 as Partition, seq, isStandby: false })
const running = (shown: Shown): GuardWord => ({ kind: 'running', shown })
const KEY = 'box.a' as InstanceKey
const crash = (word: GuardWord | undefined) => ({ how: 'SIGABRT', word })

describe('the end of an engine’s process', () => {
  it('by its guard is a judgement on what did not come back, with what was measured', () => {
    const verdict = new CrashJudge(500).judge(
      { how: 'SIGKILL', word: { kind: 'endless', shown: turn(7), ranMs: 512 } },
      0,
    )
    expect(verdict).toMatchObject({
      kind: 'judged',
      judgement: { kind: 'turn', partition: 3, seq: 7, code: 'TURN_ENDLESS' },
    })
    expect(JSON.stringify(verdict)).toContain('it has computed for 512 ms, and the limit is 500 ms')
  })

  it('in a turn is a judgement when it comes twice in a row in the same one', () => {
    const judge = new CrashJudge(500)
    expect(judge.judge(crash(running(turn(7))), 0)).toEqual({ kind: 'unexplained' })
    expect(judge.judge(crash(running({ ...turn(7), isStandby: true } as Shown)), 100)).toMatchObject({
      kind: 'judged',
      judgement: { kind: 'turn', partition: 3, seq: 7, code: 'TURN_CRASHED' },
    })
  })

  it('in another turn each time blames none of them', () => {
    const judge = new CrashJudge(500)
    expect(judge.judge(crash(running(turn(7))), 0)).toEqual({ kind: 'unexplained' })
    expect(judge.judge(crash(running(turn(8))), 100)).toEqual({ kind: 'unexplained' })
    expect(judge.judge(crash(running(turn(7))), 200)).toEqual({ kind: 'hopeless' })
  })

  it('in no turn, three times within a minute, is hopeless; over a longer time it is not', () => {
    const often = new CrashJudge(500)
    const ends = [0, 10_000, 20_000].map((atMs) => often.judge(crash({ kind: 'clear' }), atMs).kind)
    expect(ends).toEqual(['unexplained', 'unexplained', 'hopeless'])
    const rarely = new CrashJudge(500)
    for (let atMs = 0; atMs < 3_600_000; atMs += 40_000)
      expect(rarely.judge(crash(undefined), atMs)).toEqual({ kind: 'unexplained' })
  })

  it('is a judgement on a query and on a migration as well', () => {
    const shown: Shown = { kind: 'query', partition: 3 as Partition, key: KEY, name: 'total' }
    const verdict = new CrashJudge(500).judge({ how: 'SIGKILL', word: { kind: 'endless', shown, ranMs: 600 } }, 0)
    expect(verdict).toMatchObject({ kind: 'judged', judgement: { kind: 'query', key: 'box.a', name: 'total' } })
  })
})

describe('the last word of a guard', () => {
  it('is the last line that is whole', () => {
    const word = running(turn(7))
    expect(lastWord(`${JSON.stringify({ kind: 'clear' })}\n${JSON.stringify(word)}\n`)).toEqual(word)
    expect(lastWord(`${JSON.stringify(word)}\n{"kind":"cl`)).toEqual(word)
    expect(lastWord('')).toBeUndefined()
  })
})
