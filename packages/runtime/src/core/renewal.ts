/**
 * `continueAsNew`: a new base state on the same subject. Id, incarnation, known ids, mailbox, order and the named timers stay; `run` begins anew, the
 * activities and sleeps of the coroutines that end are let go.
 *
 * Invariants
 * 1. Nothing of the ended coroutines runs on: a renewal takes place only once their microtasks have run, and their waits are forgotten.
 * 2. The base that is captured describes the instance in the middle of the renewing turn. Taking it up gives the same ids, the same random
 *    numbers and the same state as the turn itself did, so the inputs before it need not be kept.
 */
import { validate } from '../contract/schema.ts'
import { CarillonError } from '../errors.ts'
import { copyValue, type Input } from '../protocol/index.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS, type InstanceData } from './instance-data.ts'
import type { BlockChanges, KnownHead } from './known-ids.ts'

/** What a life begins with that continues another one. */
export interface Renewal {
  readonly input: unknown
  /** Where the renewing turn stood: the index of its next effect is one more. */
  readonly mark: number
  /** Inputs that wait behind the renewal, in order. */
  readonly behind: readonly Input[]
  /** Present where the renewing turn lets handlers end that throw (`Mark.lenient`): so does what is left of it. */
  readonly isLenient?: true
}

/** An instance as of its last renewal. */
export interface Base {
  readonly data: InstanceData
  readonly known: KnownHead
  /** Blocks of known ids that the base needs in the store, or needs no more. */
  readonly blocks: BlockChanges
}

/** What `ctx.continueAsNew` asks for, checked. @throws INVALID_PAYLOAD, INVALID_STATE */
export function parseRenewal(
  { implementation, type }: Instance,
  input: unknown,
  options: { readonly state?: unknown } | undefined,
): { readonly kind: 'renew'; readonly input: unknown; readonly state: unknown } {
  const { contract, createState } = implementation
  const checked = input === undefined ? input : validate(contract.shape.input, input, `the next life of ${type}`)
  const state = options !== undefined && 'state' in options ? options.state : createState(checked)
  return { kind: 'renew', input: copyValue(checked), state: copyValue(state) }
}

/** Puts the new state in place of the old one, and captures the base. The caller dispatches the inputs behind it. */
export function renew(instance: Instance, input: unknown, state: unknown, behind: readonly Input[]): void {
  const { data } = instance
  const turn = instance.requireTurn()
  if (++turn.renewals > INSTANCE_LIMITS.renewals)
    throw new CarillonError(
      'LIMIT_REACHED',
      `${instance.type}/${instance.id} continued as new ${INSTANCE_LIMITS.renewals} times in one turn: await something in each life`,
    )
  if (turn.renewals === 1) instance.renewedBefore = instance.renewedSeq
  instance.renewedSeq = turn.seq
  for (const id of data.activities.keys()) instance.emit({ kind: 'activity-done', id })
  for (const [id, dueMs] of data.sleeps) instance.emit({ kind: 'timer-done', id, dueMs })
  data.activities = new Map()
  data.sleeps = new Map()
  // Answers to the life before find nobody. Children stay: they belong to the instance.
  data.calls = new Map()
  data.state = state
  data.stateVersion = instance.implementation.version
  instance.base = capture(instance, {
    input,
    mark: turn.mark(),
    behind,
    ...(instance.isLenient ? { isLenient: true } : {}),
  })
  instance.startMain(input)
}

/** Goes on from a base that was read back. The turn is the renewing one, as far as it was not over. */
export function takeUpRenewal(instance: Instance): readonly Input[] {
  const { renewal } = instance.data
  if (renewal === undefined) return []
  instance.data.renewal = undefined
  instance.renewedSeq = instance.data.seq
  instance.requireTurn().resumeAt(renewal.mark)
  instance.isLenient = renewal.isLenient === true
  instance.startMain(renewal.input)
  return renewal.behind
}

function capture(instance: Instance, renewal: Renewal): Base {
  const { data, base } = instance
  const { seq, nowMs } = instance.requireTurn()
  const blocks = data.known.takeChanges()
  return {
    data: {
      ...data,
      seq,
      timeMs: nowMs,
      state: copyValue(data.state),
      timers: new Map(data.timers),
      sleeps: new Map(),
      activities: new Map(),
      calls: new Map(),
      children: new Map(data.children),
      mailbox: [...data.mailbox],
      renewal: { ...renewal, input: copyValue(renewal.input) },
    },
    known: data.known.saveHead(),
    // An earlier base that was not saved has taken some.
    blocks:
      base === undefined
        ? blocks
        : {
            write: [...base.blocks.write, ...blocks.write],
            remove: [...base.blocks.remove, ...blocks.remove],
          },
  }
}
