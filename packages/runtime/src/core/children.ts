/**
 * Parents and children: the start of a child, its result on the way back, and what becomes of children when their parent closes.
 *
 * Everything between the two is sends: the start, the result (an input of kind `child`), the command to terminate. A child is known by the effect
 * that started it, which is open once.
 */
import type { ChildHandle, ChildOptions, Children } from '../contract/children.ts'
import type { Contract, ContractShape } from '../contract/contract.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError, type ErrorData } from '../errors.ts'
import {
  decodeEncoded,
  encodeValue,
  type Input,
  type InstanceKey,
  type Outcome,
  parseKey,
  type PayloadCodecs,
  placeOfInput,
  quote,
  type StartPayload,
  type TerminatePayload,
} from '../protocol/index.ts'
import { encodeResult } from './calls.ts'
import { type Effect, type EffectId, isEffectId } from './effect.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS, type ParentLink } from './instance-data.ts'
import { keyOfInstance, send } from './outgoing.ts'
import { senderTo } from './sender.ts'

/** A child whose result has not come, as the code that runs now knows it. It is made anew when that code is folded again. */
export interface LiveChild {
  outcome: Outcome | undefined
}

/** What `ctx.children` is. */
export function childrenOf(instance: Instance): Children {
  const start = (contract: Contract, id: string, input?: unknown, options: ChildOptions = {}): unknown =>
    startChild(instance, contract, id, input, options)
  return { start: start as Children['start'] }
}

function startChild(
  instance: Instance,
  contract: Contract,
  id: string,
  input: unknown,
  { onParentClose = 'terminate' }: ChildOptions,
): ChildHandle<ContractShape> {
  const { children } = instance.data
  const effect = instance.requireTurn().nextEffectId()
  if (onParentClose !== 'terminate' && onParentClose !== 'abandon')
    throw new CarillonError(
      'INVALID_DEFINITION',
      `onParentClose is ${quote(onParentClose)}: pass 'terminate' or 'abandon'`,
    )
  if (children.size >= INSTANCE_LIMITS.children)
    throw new CarillonError(
      'LIMIT_REACHED',
      `${instance.type}/${instance.id} has ${INSTANCE_LIMITS.children} children that have not closed, the most there may be`,
    )
  validate(contract.shape.input, input, `the start of ${contract.name}`)
  const target = keyOfInstance(contract, id)
  const payload: StartPayload = { input, ifRunning: 'fail', parent: { key: instance.key, effect } }
  send(instance, { target, inputKind: 'start', name: '', payload }, effect)
  children.set(effect, { key: target, onParentClose })
  const live: LiveChild = { outcome: undefined }
  instance.liveChildren.set(effect, live)
  let result: Promise<unknown> | undefined
  return {
    ...senderTo(instance, contract, id),
    result() {
      instance.requireTurn()
      result ??= live.outcome === undefined ? instance.waits.forEffect(effect, undefined) : settled(live.outcome)
      return result
    },
  }
}

/** Nobody may await it, so a rejection must not count as unhandled. */
function settled(outcome: Outcome): Promise<unknown> {
  const promise = outcome.ok ? Promise.resolve(outcome.value) : Promise.reject(childFailed(outcome.error))
  promise.catch(() => {})
  return promise
}

/** What `result` rejects with. */
function childFailed(error: ErrorData): CarillonError {
  return new CarillonError('CHILD_FAILED', error.message, { details: error })
}

/** Who started an instance, out of its start payload. */
export function isParentLink(value: unknown): value is ParentLink {
  if (typeof value !== 'object' || value === null) return false
  const { key, effect } = value as { readonly key?: unknown; readonly effect?: unknown }
  return isEffectId(effect) && typeof key === 'string' && isInstanceKey(key)
}

/** The result of a child, on its way to its parent. */
function resultForParent(
  child: InstanceKey,
  { key: parent, effect }: ParentLink,
  outcome: Outcome,
  id: EffectId,
): Effect & { readonly kind: 'send' } {
  const { type } = parseKey(child)
  return { kind: 'send', id, target: parent, inputKind: 'child', name: type, payload: encodeResult(effect, outcome) }
}

/** Tells the parent, if there is one, how its child ended. */
export function tellParent(instance: Instance, parent: ParentLink | undefined, outcome: Outcome): void {
  if (parent === undefined) return
  instance.emit(resultForParent(instance.key, parent, outcome, instance.requireTurn().nextEffectId()))
}

/** A start that does not reach its instance, at a node that cannot run it: its parent is told as well. */
export function refusedChild(
  child: InstanceKey,
  input: Input,
  error: ErrorData,
  id: EffectId,
  codecs: PayloadCodecs | undefined,
): (Effect & { readonly kind: 'send' }) | undefined {
  if (input.kind !== 'start') return undefined
  try {
    const place = placeOfInput(child, input.kind, input.name)
    const payload = decodeEncoded(codecs, input.payload, input.encoding, place) as
      | { readonly parent?: unknown }
      | undefined
    const parent = payload?.parent
    return isParentLink(parent) ? resultForParent(child, parent, { ok: false, error }, id) : undefined
  } catch {
    return undefined
  }
}

/** The parent has closed: its children that have not are terminated, or left alone. */
export function letGoOfChildren(instance: Instance): void {
  const { data } = instance
  for (const [effect, { key: target, onParentClose }] of data.children) {
    if (onParentClose === 'abandon') continue
    const reason = `its parent ${instance.type}/${instance.id} has closed`
    const payload: TerminatePayload = { reason, parent: { key: instance.key, effect } }
    // The limit of a turn is for its code.
    const id = instance.requireTurn().nextEffectId()
    instance.emit({ kind: 'send', id, target, inputKind: 'admin', name: 'terminate', payload: encodeValue(payload) })
  }
  data.children = new Map()
}

function isInstanceKey(key: string): key is InstanceKey {
  try {
    parseKey(key as InstanceKey)
    return key.split('.').length === 2
  } catch {
    return false
  }
}
