/** Instances as workflow code addresses them. */
import type { Contract, ContractShape } from '../contract/contract.ts'
import type { SignalWithStartToSend, WorkflowSender } from '../contract/outgoing.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError } from '../errors.ts'
import { quote, type StartPayload } from '../protocol/index.ts'
import { call } from './calls.ts'
import type { Instance } from './instance.ts'
import { keyOfInstance, send } from './outgoing.ts'
import { checkReason } from './reason.ts'
import type { Scope } from './scope.ts'
import { promised } from './waits.ts'

/** What `ctx.workflow(contract, id)` gives. */
export function senderTo<Shape extends ContractShape>(
  instance: Instance,
  contract: Contract<Shape>,
  id: string,
  scope: Scope | undefined,
): WorkflowSender<Shape> {
  const target = keyOfInstance(contract, id)
  return {
    type: contract.name,
    id,
    signal(name, ...payload) {
      checkSignal(contract, name, payload[0])
      send(instance, { target, inputKind: 'signal', name, payload: payload[0] })
    },
    signalWithStart(both: SignalWithStartToSend<Shape>) {
      const { input, signal } = both as {
        readonly input?: unknown
        readonly signal: NonNullable<StartPayload['signal']>
      }
      validate(contract.shape.input, input, `the start of ${contract.name}`)
      checkSignal(contract, signal.name, signal.payload)
      const payload: StartPayload = { input, ifRunning: 'use', signal: { name: signal.name, payload: signal.payload } }
      send(instance, { target, inputKind: 'start', name: '', payload })
    },
    cancel(reason) {
      if (reason !== undefined) checkReason(reason)
      send(instance, { target, inputKind: 'cancel', name: '', payload: reason === undefined ? {} : { reason } })
    },
    update(name, ...input) {
      return promised(() => call(instance, contract, { target, name, input: input[0] }, scope)) as never
    },
  }
}

/** The contract's word, before it leaves: what the receiver would refuse is a mistake of the sender. */
function checkSignal(contract: Contract, name: string, payload: unknown): void {
  const declared = contract.shape.signals ?? {}
  if (!Object.hasOwn(declared, name))
    throw new CarillonError(
      'UNKNOWN_NAME',
      `${contract.name} declares no signal ${quote(name)}; it has: ${Object.keys(declared).join(', ') || 'none'}`,
    )
  validate(declared[name], payload, `the signal ${name} of ${contract.name}`)
}
