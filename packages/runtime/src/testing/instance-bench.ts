/** Drives one instance by hand, for transcripts: inputs in, states and effects out. */
import type { Implementation } from '../contract/implement.ts'
import {
  applyInput,
  digestOf,
  type Effect,
  type EffectId,
  Instance,
  type InstanceData,
  type TurnResult,
} from '../core/index.ts'
import { encodeValue, type Input, type InputKind } from '../protocol/index.ts'

/** The time of an input when none is given: its sequence in milliseconds behind this. */
export const BENCH_START_MS = 1_000_000

export class InstanceBench {
  readonly instance: Instance
  /** Effects of the last turn; empty when it was poisoned. */
  effects: readonly Effect[] = []
  seq = 0

  constructor(implementation: Implementation, data?: InstanceData, id = 'i1') {
    this.instance = new Instance(`${implementation.contract.name}.${id}`, implementation, data)
  }

  get state(): unknown {
    return this.instance.data.state
  }

  get digest(): string {
    return digestOf(this.instance.data)
  }

  /** Kinds of the last turn's effects, in order. */
  get kinds(): readonly string[] {
    return this.effects.map(({ kind }) => kind)
  }

  async apply(input: Input): Promise<TurnResult> {
    this.seq = Math.max(this.seq, input.seq)
    const result = await applyInput(this.instance, input)
    this.effects = result.kind === 'applied' ? result.effects : []
    return result
  }

  send(kind: InputKind, name: string, payload?: unknown, more: Partial<Input> = {}): Promise<TurnResult> {
    return this.apply({ ...inputOf(this.seq + 1, kind, name, payload), ...more })
  }

  signal(name: string, payload?: unknown, more: Partial<Input> = {}): Promise<TurnResult> {
    return this.send('signal', name, payload, more)
  }

  /** The result of the activity that the turn at `seq` asked for with this index. */
  result(effect: string, value?: unknown, more: Partial<Input> = {}): Promise<TurnResult> {
    const name = this.instance.data.activities.get(effect as EffectId) ?? 'x'
    return this.send('activity', name, { effect, outcome: { ok: true, value } }, more)
  }

  fire(effect: string, dueMs: number, timeMs = dueMs): Promise<TurnResult> {
    return this.send('timer', 'x', { effect, dueMs }, { timeMs })
  }
}

export function inputOf(seq: number, kind: InputKind, name: string, payload?: unknown): Input {
  return {
    seq,
    timeMs: BENCH_START_MS + seq,
    kind,
    name,
    id: undefined,
    encoding: 'msgpack',
    payload: encodeValue(payload),
    reply: undefined,
    trace: undefined,
    version: '1',
  }
}
