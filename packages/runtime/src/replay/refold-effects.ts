/** What a re-fold sees of a turn: its effects as they would leave the node, in their order, and how the input ended. */
import type { EffectId, Instance } from '../core/index.ts'
import type { PartitionSink } from '../engine/partition.ts'
import type { ErrorData } from '../errors.ts'
import { decodeValue, type InputKind, type InstanceKey, type Outcome } from '../protocol/index.ts'

/** One effect. `id` is that of the node, so two builds that ask for the same thing at the same place give the same effect. */
export type RefoldEffect =
  | { readonly kind: 'activity'; readonly id: EffectId; readonly name: string; readonly input: unknown }
  | { readonly kind: 'activity-done'; readonly id: EffectId }
  | { readonly kind: 'timer'; readonly id: EffectId; readonly name: string; readonly dueMs: number }
  | { readonly kind: 'timer-done'; readonly id: EffectId }
  | {
      readonly kind: 'send'
      readonly id: EffectId
      readonly target: InstanceKey
      readonly inputKind: InputKind
      readonly name: string
      readonly payload: unknown
    }
  | { readonly kind: 'dead'; readonly id: EffectId; readonly seq: number; readonly reason: ErrorData }
  | { readonly kind: 'reply'; readonly seq: number; readonly outcome: Outcome }
  | { readonly kind: 'closed' }

/**
 * `applied`, or what became of the input instead. `parked`: the instance is suspended or paused, and the input waits behind that. `suspended`: it is the one
 * that the instance cannot go on with.
 */
export type RefoldOutcome = 'applied' | 'duplicate' | 'ignored' | 'dead' | 'parked' | 'suspended'

/** Collects what a partition says while it applies one input. */
export class RefoldSink implements PartitionSink {
  effects: RefoldEffect[] = []
  outcome: RefoldOutcome = 'applied'
  error: ErrorData | undefined
  /** Log lines are no effects: they may change from build to build. */
  readonly log = (): void => {}
  #seq = 0

  begin(seq: number): void {
    this.effects = []
    this.outcome = 'applied'
    this.error = undefined
    this.#seq = seq
  }

  /** The sink is not told the names of timers: the instance knows them once the turn is over. */
  end(instance: Instance | undefined): void {
    const names = new Map([...(instance?.data.timers ?? [])].map(([name, { effect }]) => [effect, name]))
    this.effects = this.effects.map((effect) =>
      effect.kind === 'timer' ? { ...effect, name: names.get(effect.id) ?? effect.name } : effect,
    )
  }

  activity: PartitionSink['activity'] = (_, { id, name, input }) =>
    void this.effects.push({ kind: 'activity', id, name, input: decodeValue(input) })

  activityDone: PartitionSink['activityDone'] = (_, _key, id) => void this.effects.push({ kind: 'activity-done', id })

  timer: PartitionSink['timer'] = (_, _key, id, dueMs) =>
    void this.effects.push({ kind: 'timer', id, name: 'sleep', dueMs })

  timerDone: PartitionSink['timerDone'] = (_, _key, id) => void this.effects.push({ kind: 'timer-done', id })

  dead: PartitionSink['dead'] = (_, { id, input: { seq }, reason }) => {
    this.effects.push({ kind: 'dead', id, seq, reason })
    if (seq !== this.#seq) return
    this.outcome = 'dead'
    this.error = reason
  }

  send: PartitionSink['send'] = (_, { id, target, inputKind, name, payload }) =>
    void this.effects.push({ kind: 'send', id, target, inputKind, name, payload: decodeValue(payload) })

  reply: PartitionSink['reply'] = ({ payload: { seq, outcome } }) =>
    void this.effects.push({ kind: 'reply', seq, outcome })

  closed = (): void => void this.effects.push({ kind: 'closed' })

  suspended: PartitionSink['suspended'] = (_, _seq, error) => {
    this.outcome = 'suspended'
    this.error = error
  }

  count: PartitionSink['count'] = (what) => {
    if (what === 'duplicate' || what === 'ignored') this.outcome = what
  }
}
