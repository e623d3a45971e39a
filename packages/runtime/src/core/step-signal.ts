/** Signals: to their handler, or into the mailbox. */
import type { MailboxPolicy } from '../contract/mailbox.ts'
import { validate } from '../contract/schema.ts'
import type { ErrorData } from '../errors.ts'
import { encodeValue, type Input, isPlain, OPENED, quote } from '../protocol/index.ts'
import type { Instance, Job } from './instance.ts'
import { InstanceContext } from './instance-context.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { beginLife } from './begin-life.ts'
import { boundMailbox, boundQueue } from './mailbox-policy.ts'
import { parsePayload } from './parse-payload.ts'
import { payloadOf } from './payload-of.ts'
import { stepTask } from './tasks.ts'

export function stepSignal(instance: Instance, input: Input): void {
  const payload = parsePayload(() => payloadOf(instance, input))
  if (!payload.ok) return instance.deadLetter(input, payload.error)
  receiveSignal(instance, input, input.name, payload.value)
}

/** Takes one decoded signal; `input` is what carried it. */
export function receiveSignal(instance: Instance, input: Input, name: string, raw: unknown): void {
  const { contract, signals, concurrent, mailbox } = instance.implementation
  const declared = contract.shape.signals ?? {}
  if (!Object.hasOwn(declared, name)) {
    if (input.kind === 'signal' && stepTask(instance, input, raw)) return
    return instance.deadLetter(input, unknownName(instance, 'signal', name, Object.keys(declared)))
  }
  const payload = parsePayload(() => validate(declared[name], raw, `the signal ${name}`))
  if (!payload.ok) return instance.deadLetter(input, payload.error)
  if (!ensureRunning(instance, input)) return
  const handler = signals.get(name)
  const policy = mailbox?.get(name)
  if (handler === undefined && !instance.isBehindClose(input.seq))
    return post(instance, asSignal(input, name, raw), policy)
  const isBeside = handler !== undefined && concurrent.has(name)
  const context = isBeside ? new InstanceContext(instance, input.seq) : instance.contextOf(input)
  const run = (): unknown => discard(handler?.(context, payload.value))
  if (policy === undefined) return isBeside ? instance.startBeside({ input, run }) : instance.enqueue({ input, run })
  const job: Job = { input, run, signal: name, asSignal: () => asSignal(input, name, raw) }
  if (isBeside) instance.startBeside(job)
  else instance.enqueue(job)
  boundQueue(instance, policy, name, input.seq)
}

/** True when the instance runs, also because it starts by itself now; else the input has been answered and dead-lettered. */
export function ensureRunning(instance: Instance, input: Input): boolean {
  const { phase } = instance.data
  if (phase.kind === 'running') return true
  const { startOnSignal, ifClosed } = instance.implementation
  if (startOnSignal && (phase.kind === 'absent' || ifClosed === 'restart')) {
    beginLife(instance, undefined)
    return true
  }
  instance.deadLetter(input, phase.kind === 'closed' ? closed(instance) : notFound(instance))
  return false
}

export function unknownName(instance: Instance, what: string, name: string, known: readonly string[]): ErrorData {
  const list = known.length === 0 ? 'none' : known.join(', ')
  return { code: 'UNKNOWN_NAME', message: `${instance.type} declares no ${what} ${quote(name)}; it has: ${list}` }
}

function post(instance: Instance, signal: Input, policy: MailboxPolicy | undefined): void {
  if (instance.waits.offer(signal)) {
    instance.unsettled = true
    return
  }
  const { mailbox } = instance.data
  if (mailbox.length < INSTANCE_LIMITS.mailbox) {
    mailbox.push(signal)
    return policy === undefined ? undefined : boundMailbox(instance, policy, signal)
  }
  instance.deadLetter(signal, {
    code: 'LIMIT_REACHED',
    message: `${INSTANCE_LIMITS.mailbox} signals wait in the mailbox of ${instance.type}/${instance.id} already: let its run receive them`,
  })
}

/** A signal that came with a start waits, and is buried, under its own name. */
function asSignal(input: Input, name: string, raw: unknown): Input {
  if (input.kind === 'signal') return input
  const encoding = isPlain(input.encoding) ? 'msgpack' : OPENED
  return { ...input, kind: 'signal', name, encoding, payload: encodeValue(raw) }
}

function discard(value: unknown): unknown {
  return value instanceof Promise ? value.then(() => undefined) : undefined
}

function closed(instance: Instance): ErrorData {
  return {
    code: 'CLOSED',
    message: `${instance.type}/${instance.id} is closed: start it again first, or let its type start by itself after a close`,
  }
}

function notFound(instance: Instance): ErrorData {
  return {
    code: 'NOT_FOUND',
    message: `there is no instance ${instance.type}/${instance.id}: start it first, or declare startOnSignal`,
  }
}
