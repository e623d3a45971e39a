/**
 * Parents and children: the start of a child, its result on the way back, and what becomes of children when their parent closes.
 *
 * Everything between the two is sends: the start, the result (an input of kind `child`), the command to terminate. A child is known by the effect
 * that started it, which is open once.
 */
import type { ChildHandle, ChildOptions, Children, ParentClosePolicy } from '../contract/children.ts'
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
import { type Scope, scopeOf } from './scope.ts'
import { senderTo } from './sender.ts'

/** A child whose result has not come, as the code that runs now knows it. It is made anew when that code is folded again. */
export interface LiveChild {
  outcome: Outcome | undefined
  /** The last wait for its result, and the scope of that. */
  asked: { readonly scope: Scope | undefined; readonly result: Promise<unknown> } | undefined
}

/** In the order of their numbers in records. */
export const PARENT_CLOSE_POLICIES: readonly ParentClosePolicy[] = ['terminate', 'abandon', 'cancel']

const TERMINATE = { inputKind: 'admin', name: 'terminate' } as const
const CANCEL = { inputKind: 'cancel', name: '' } as const

/** What `ctx.children` is. */
export function childrenOf(instance: Instance, scope: Scope | undefined): Children {
  const start = (contract: Contract, id: string, input?: unknown, options: ChildOptions = {}): unknown =>
    startChild(instance, { contract, id, input }, options, scope)
  return { start: start as Children['start'] }
}

function startChild(
  instance: Instance,
  { contract, id, input }: { readonly contract: Contract; readonly id: string; readonly input: unknown },
  { onParentClose = 'terminate' }: ChildOptions,
  scope: Scope | undefined,
): ChildHandle<ContractShape> {
  const { children } = instance.data
  const effect = instance.requireTurn().nextEffectId()
  if (!PARENT_CLOSE_POLICIES.includes(onParentClose))
    throw new CarillonError(
      'INVALID_DEFINITION',
      `onParentClose is ${quote(onParentClose)}: pass 'terminate', 'cancel' or 'abandon'`,
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
  const live: LiveChild = { outcome: undefined, asked: undefined }
  instance.liveChildren.set(effect, live)
  return {
    ...senderTo(instance, contract, id, scope),
    result: (within) => resultOf(instance, effect, live, within === undefined ? scope : scopeOf(within)),
  }
}

/** Asking again in the same scope gives the same promise. */
function resultOf(instance: Instance, effect: EffectId, live: LiveChild, scope: Scope | undefined): Promise<unknown> {
  instance.requireTurn()
  const { outcome, asked } = live
  if (asked !== undefined && asked.scope === scope) return asked.result
  const result = wait(instance, effect, outcome, scope)
  live.asked = { scope, result }
  return result
}

function wait(
  { waits }: Instance,
  effect: EffectId,
  outcome: Outcome | undefined,
  scope: Scope | undefined,
): Promise<unknown> {
  if (scope?.error !== undefined) return rejected(scope.error)
  return outcome === undefined ? waits.forEffect(effect, scope) : settled(outcome)
}

/** Nobody may await it, so a rejection must not count as unhandled. */
function settled(outcome: Outcome): Promise<unknown> {
  return outcome.ok ? Promise.resolve(outcome.value) : rejected(childFailed(outcome.error))
}

function rejected(reason: CarillonError): Promise<never> {
  const promise = Promise.reject(reason)
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

/** The parent has closed: its children that have not are terminated, asked to cancel, or left alone. */
export function letGoOfChildren(instance: Instance): void {
  const { data } = instance
  for (const [effect, { key: target, onParentClose }] of data.children) {
    if (onParentClose === 'abandon') continue
    const reason = `its parent ${instance.type}/${instance.id} has closed`
    const payload: TerminatePayload = { reason, parent: { key: instance.key, effect } }
    // The limit of a turn is for its code.
    const id = instance.requireTurn().nextEffectId()
    const asked = onParentClose === 'cancel' ? CANCEL : TERMINATE
    instance.emit({ kind: 'send', id, target, ...asked, payload: encodeValue(payload) })
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
