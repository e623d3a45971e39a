import { describe, expect, it } from 'vitest'

import { joinTrace, splitTrace, traceHeaders, traceOf } from './trace.ts'

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const message = (headers: Readonly<Record<string, string>>) => ({ header: (name: string) => headers[name] })

describe('a trace context', () => {
  it('is what the headers say, as one text, and becomes the same headers again', () => {
    for (const headers of [{ traceparent: PARENT }, { traceparent: PARENT, tracestate: 'a=1,b=2' }]) {
      const trace = traceOf(message(headers))
      expect(traceHeaders(trace)).toEqual(headers)
    }
    expect(splitTrace(joinTrace(PARENT, 'a=1 2'))).toEqual({ parent: PARENT, state: 'a=1 2' })
    expect(traceHeaders(undefined)).toEqual({})
  })

  it.each(['', 'nonsense', PARENT.toUpperCase(), `${PARENT}-more`, `${PARENT}\n`])(
    'is none where the parent is %j',
    (parent) => {
      expect(traceOf(message({ traceparent: parent, tracestate: 'a=1' }))).toBeUndefined()
    },
  )

  it('leaves a state behind that is too long or not one line of ASCII', () => {
    for (const state of ['x'.repeat(513), 'a=ä', 'a=1\nb=2', ''])
      expect(traceOf(message({ traceparent: PARENT, tracestate: state }))).toBe(PARENT)
    expect(traceOf(message({ traceparent: PARENT, tracestate: 'x'.repeat(512) }))).toHaveLength(PARENT.length + 513)
  })
})
