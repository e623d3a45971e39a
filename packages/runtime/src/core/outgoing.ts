/** Inputs that workflow code sends to instances: effects of kind `send`, and the ids of the inputs that they become. */
import { createHash } from 'node:crypto'

import type { Contract } from '../contract/contract.ts'
import { CarillonError } from '../errors.ts'
import {
  encodeToken,
  encodeValue,
  type InputKind,
  INPUT_ID_BYTES_MAX,
  type InstanceKey,
  PAYLOAD_BYTES_MAX,
} from '../protocol/index.ts'
import { type EffectId, isEffectId } from './effect.ts'
import type { Instance } from './instance.ts'
import { interceptSend } from './intercepted.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import type { Turn } from './turn.ts'

export interface OutgoingInput {
  readonly target: InstanceKey
  readonly inputKind: InputKind
  /** Empty for `start`. */
  readonly name: string
  readonly payload: unknown
}

const KEY = /^[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+$/
const sendsOfTurn = new WeakMap<Turn, number>()

/**
 * The input id of what an instance sends: `<sender key>/<effect id>`, so that the receiver drops a repeat. A key that is too long for an input id
 * stands there as its digest.
 */
export function sendIdOf(key: InstanceKey, effect: EffectId): string {
  const id = `${key}/${effect}`
  if (id.length <= INPUT_ID_BYTES_MAX) return id
  return `${createHash('sha256').update(key).digest('hex')}/${effect}`
}

/** Who sent an input with this id; undefined when no instance did, or one whose key was too long. */
export function parseSendId(id: string): { readonly key: InstanceKey; readonly effect: EffectId } | undefined {
  const slash = id.indexOf('/')
  if (slash === -1) return undefined
  const [key, effect] = [id.slice(0, slash), id.slice(slash + 1)]
  return KEY.test(key) && isEffectId(effect) ? { key: key as InstanceKey, effect } : undefined
}

/** Makes the input an effect of the running turn. */
export function send(
  instance: Instance,
  { target, inputKind, name, payload }: OutgoingInput,
  id: EffectId = instance.requireTurn().nextEffectId(),
): void {
  const turn = instance.requireTurn()
  const count = (sendsOfTurn.get(turn) ?? 0) + 1
  if (count > INSTANCE_LIMITS.sends)
    throw new CarillonError(
      'LIMIT_REACHED',
      `one turn of ${instance.type}/${instance.id} sent ${INSTANCE_LIMITS.sends} inputs, the most there may be: spread them over several turns`,
    )
  const bytes = encodeValue(
    instance.implementation.host?.send === undefined
      ? payload
      : interceptSend(instance, { target, inputKind, name, payload }),
  )
  if (bytes.length > PAYLOAD_BYTES_MAX)
    throw new CarillonError(
      'PAYLOAD_TOO_LARGE',
      `the ${inputKind} ${name} for ${target} has ${bytes.length} bytes, over ${PAYLOAD_BYTES_MAX}: store it elsewhere and send a reference`,
    )
  sendsOfTurn.set(turn, count)
  instance.emit({ kind: 'send', id, target, inputKind, name, payload: bytes })
}

/** The key of an instance. @throws INVALID_ID */
export function keyOfInstance(contract: Contract, id: string): InstanceKey {
  return `${encodeToken(contract.name, 'workflow type')}.${encodeToken(id, 'instance id')}`
}
