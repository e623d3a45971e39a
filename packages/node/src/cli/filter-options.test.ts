import { expect, it } from 'vitest'

import { parseCondition, parseMoment } from './filter-options.ts'

it.each([
  ['region=eu', { attribute: 'region', op: 'is', text: 'eu' }],
  ['region=', { attribute: 'region', op: 'is', text: '' }],
  ['region=a>=b=c', { attribute: 'region', op: 'is', text: 'a>=b=c' }],
  ['points>=1000', { attribute: 'points', op: 'atLeast', text: '1000' }],
  ['points>-1', { attribute: 'points', op: 'above', text: '-1' }],
  ['points<=1', { attribute: 'points', op: 'atMost', text: '1' }],
  ['due<2026-05-01', { attribute: 'due', op: 'below', text: '2026-05-01' }],
  ['region^=eu-', { attribute: 'region', op: 'startsWith', text: 'eu-' }],
  ['vip', { attribute: 'vip', op: 'isSet', text: 'true' }],
  ['!vip', { attribute: 'vip', op: 'isSet', text: 'false' }],
])('reads the condition %s', (text, condition) => {
  expect(parseCondition(text)).toEqual(condition)
})

it.each(['', '=eu', '!vip=true', '1st=2', 're gion=eu', '>=5', 'a!=b'])('refuses the condition %j', (text) => {
  expect(() => parseCondition(text)).toThrow('for example')
})

it('reads times as dates, or as so long ago', () => {
  expect(parseMoment('2026-05-01T10:00:00Z')).toBe(Date.UTC(2026, 4, 1, 10))
  expect(Math.abs(Date.now() - 7_200_000 - parseMoment('2 hours'))).toBeLessThan(1000)
  for (const text of ['', 'soon', '2026-99-01', '-1 hour']) expect(() => parseMoment(text)).toThrow('ISO 8601')
})
