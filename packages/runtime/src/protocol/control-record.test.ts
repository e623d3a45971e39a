import { describe, expect, it } from 'vitest'

import { activityKey, formatControls, parseControls } from './control-record.ts'
import { encodeToken } from './ids.ts'

describe('the entry of what is paused', () => {
  it('is read as it was written, whatever the names are', () => {
    const state = {
      pausedTypes: new Set([encodeToken('Łódź 1'), encodeToken('loyalty')]),
      pausedActivities: new Set([activityKey('a.b', 'c>d')]),
    }
    expect(parseControls(formatControls(state))).toEqual(state)
  })

  it.each(['', '{', 'null', '[]', '{"pausedTypes":[]}', '{"pausedTypes":["a b"],"pausedActivities":[]}'])(
    'is refused where it is none: %s',
    (text) => expect(() => parseControls(text)).toThrow(expect.objectContaining({ code: 'CLUSTER_MISMATCH' }) as Error),
  )

  it('names an activity by its type and its own name', () => {
    expect(() => parseControls('{"pausedTypes":[],"pausedActivities":["loyalty"]}')).toThrow('pausedActivities')
  })
})
