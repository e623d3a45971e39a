import { describe, expect, it } from 'vitest'

import { parsePubAck } from './pub-ack.ts'

const parse = (text: string): ReturnType<typeof parsePubAck> => parsePubAck(new TextEncoder().encode(text))

describe('parsePubAck', () => {
  it.each([
    ['{"stream":"demo-log","seq":1}', 1, false],
    ['{"stream":"demo-log","seq":9007199254740991}', 9007199254740991, false],
    ['{"stream":"demo-log","seq":13,"batch":"b1","count":3}', 13, false],
    ['{"stream":"demo-log","seq":6,"duplicate": true}', 6, true],
    ['{"stream":"demo-log","domain":"hub","seq":6,"duplicate":true}', 6, true],
    ['{"stream":"demo-log","domain":"hub","seq":7}', 7, false],
    ['{"type":"io.nats","stream":"s","seq":8,"val":"1"}', 8, false],
  ])('reads %s', (text, seq, duplicate) => {
    expect(parse(text)).toEqual({ ok: true, ack: { seq, duplicate } })
  })

  it.each([
    [503, 10023, 'retry'],
    [503, 10999, 'retry'],
    [503, 10077, 'full'],
    [400, 10054, 'too-large'],
    [400, 10174, 'no-batches'],
    [400, 10176, 'batch'],
    [400, 10199, 'batch'],
    [400, 10201, 'batch'],
    [400, 10071, 'refused'],
    [400, 10060, 'refused'],
    [500, 10111, 'refused'],
  ])('takes error %d/%d for %s', (code, errCode, kind) => {
    const text = JSON.stringify({ error: { code, err_code: errCode, description: 'because' }, stream: 's', seq: 0 })
    expect(parse(text)).toEqual({ ok: false, refusal: { errCode, description: 'because', kind } })
  })

  it.each([
    '',
    'x',
    '{',
    'null',
    '[]',
    '{"error":null}',
    '{"error":"x"}',
    '{"stream":"s"}',
    '{"stream":"s","seq":0}',
    '{"stream":"s","seq":-1}',
    '{"stream":"s","seq":"1"}',
  ])('takes %j for no answer at all', (text) => {
    expect(parse(text)).toMatchObject({ ok: false, refusal: { kind: 'retry' } })
  })
})
