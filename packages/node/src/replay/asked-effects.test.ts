import type { InputKind } from '@carillon/runtime/protocol'
import type { RefoldEffect, RefoldStep } from '@carillon/runtime/replay'
import { describe, expect, it } from 'vitest'

import { AskedEffects } from './asked-effects.ts'

const step = (kind: InputKind, name: string): RefoldStep => ({
  seq: 9,
  timeMs: 0,
  kind,
  name,
  inputId: undefined,
  outcome: 'applied',
  error: undefined,
  effects: [],
})
const asked: readonly RefoldEffect[] = [
  { kind: 'activity', id: '1.0', name: 'pay', input: 1 },
  { kind: 'timer', id: '1.1', name: 'reminder', dueMs: 5 },
  { kind: 'timer', id: '1.2', name: 'sleep', dueMs: 5 },
  { kind: 'send', id: '1.3', target: 'a.b', inputKind: 'start', name: '', payload: {} },
  { kind: 'activity-done', id: '1.0' },
  { kind: 'closed' },
]

describe('a result in the journal', () => {
  const effects = new AskedEffects()
  effects.add(asked)
  it.each<[InputKind, string, string]>([
    ['activity', 'pay', '1.0'],
    ['timer', 'reminder', '1.1'],
    ['timer', 'sleep', '1.2'],
    ['child', 'parcel', '1.3'],
    ['answer', 'take', '1.3'],
  ])('fits what was asked for, however often it comes: %s %s', (kind, name, id) => {
    for (const _ of [1, 2]) expect(effects.mismatch(step(kind, name), { effect: id })).toBeUndefined()
  })

  it.each<[InputKind, string, string, RegExp]>([
    ['activity', 'ship', '1.0', /result of activity ship for the effect 1\.0, where this build asks for activity pay/],
    ['activity', 'sleep', '1.2', /asks for timer sleep/],
    ['timer', 'sleep', '1.1', /asks for timer reminder/],
    ['child', 'parcel', '1.0', /result of child for the effect 1\.0, where this build asks for activity pay/],
    ['activity', 'pay', '2.0', /which this build does not ask for/],
  ])('of something else is told: %s %s for %s', (kind, name, id, why) => {
    expect(effects.mismatch(step(kind, name), { effect: id })).toMatch(why)
  })

  it.each<[InputKind, unknown]>([
    ['signal', { effect: '2.0' }],
    ['activity', undefined],
    ['activity', { effect: 7 }],
    ['timer', null],
  ])('that is none is left alone: %s', (kind, payload) => {
    expect(effects.mismatch(step(kind, 'x'), payload)).toBeUndefined()
  })

  it('is forgotten about when a hundred thousand others have been asked for since', () => {
    const many = new AskedEffects()
    many.add(asked)
    for (let i = 2; i < 100_002; i++) many.add([{ kind: 'activity', id: `${i}.0`, name: 'pay', input: i }])
    expect(many.mismatch(step('activity', 'pay'), { effect: '100001.0' })).toBeUndefined()
    expect(many.mismatch(step('activity', 'pay'), { effect: '1.0' })).toMatch(/does not ask/)
  })
})
