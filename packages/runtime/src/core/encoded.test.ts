import { describe, expect, it } from 'vitest'

import { createCodecs, encryption } from '../codecs/index.ts'
import { withHost } from '../contract/host.ts'
import { defineWorkflow, implement, type } from '../index.ts'
import { encodeValue, type Input, OPENED, placeOfInput } from '../protocol/index.ts'
import { InstanceBench } from '../testing/instance-bench.ts'
import { codeOf } from '../errors.ts'
import { decodeInput, encodeInput } from './record.ts'

const codecs = createCodecs([encryption({ keys: { k1: Buffer.alloc(32, 1) }, current: 'k1' })])
const Box = defineWorkflow('box', {
  signals: { put: type<number>(), wait: type<string>(), show: type<void>() },
})
const box = implement(Box, {
  startOnSignal: true,
  state: () => ({ all: [] as unknown[] }),
  on: { put: (ctx, n) => void ctx.state.all.push(n) },
  async run(ctx) {
    await ctx.receive('show')
    ctx.state.all.push((await ctx.receive('wait')).payload)
  },
})

function sealed(kind: 'signal' | 'start', name: string, payload: unknown): Partial<Input> {
  const { bytes, encoding } = codecs.encode(encodeValue(payload), 'msgpack', placeOfInput('box.i1', kind, name))
  return { payload: bytes, encoding }
}

describe('an input that came through codecs', () => {
  it('is applied as any other, and answered through them', async () => {
    const bench = new InstanceBench(withHost(box, { codecs }))
    await bench.signal('put', undefined, { ...sealed('signal', 'put', 7), reply: '_INBOX.a.1' })
    expect(bench.state).toEqual({ all: [7] })
    expect(bench.effects).toMatchObject([{ kind: 'reply', sealFor: 'box.i1' }])
    await bench.signal('put', 8, { reply: '_INBOX.a.2' })
    expect(bench.effects[0]).not.toHaveProperty('sealFor')
  })

  it('suspends the instance where nothing can decode it, and changes nothing', async () => {
    const bench = new InstanceBench(box)
    const result = await bench.signal('put', undefined, sealed('signal', 'put', 7))
    expect(result.kind === 'poisoned' && codeOf(result.error)).toBe('UNKNOWN_CODEC')
  })

  it('is a dead letter where its bytes were made for another signal', async () => {
    const bench = new InstanceBench(withHost(box, { codecs }))
    await bench.signal('put', undefined, sealed('signal', 'wait', 7))
    expect(bench.effects).toMatchObject([{ kind: 'dead', reason: { code: 'INVALID_PAYLOAD' } }])
  })

  it('waits in the mailbox as it came, and opened where it came with a start', async () => {
    const bench = new InstanceBench(withHost(box, { codecs }))
    await bench.signal('wait', undefined, sealed('signal', 'wait', 'first'))
    await bench.send(
      'start',
      '',
      undefined,
      sealed('start', '', { ifRunning: 'use', signal: { name: 'wait', payload: 'second' } }),
    )
    const { mailbox } = bench.instance.data
    expect(mailbox.map(({ encoding }) => encoding)).toEqual(['msgpack,aes-gcm', OPENED])
    for (const input of mailbox) expect(decodeInput(encodeInput(input))).toEqual(input)
    await bench.signal('show')
    expect(bench.state).toEqual({ all: ['first'] })
  })
})
