/**
 * Tasks of an instance: opened by `ctx.task`, completed from outside by their token, which arrives as a signal with a name of its own.
 *
 * An open task lives with the code that opened it, like the wait for its result: it is made anew when that code is folded again, and gone when that
 * code is.
 *
 * Invariants
 * 1. A task is open once: whatever ends it (completion, failure, deadline, missed heartbeat, cancel) takes it out, and its timers with it.
 * 2. A token that was not made for this instance and this cluster opens nothing.
 */
import type { Task, TaskOptions } from '../contract/tasks.ts'
import { toMs } from '../contract/duration.ts'
import { endOf } from '../contract/moment.ts'
import { validate } from '../contract/schema.ts'
import { CarillonError, type ErrorData } from '../errors.ts'
import {
  copyValue,
  encodeValue,
  formatTaskToken,
  type Input,
  isMacOf,
  type OpenTaskRow,
  type Outcome,
  parseTaskName,
  PAYLOAD_BYTES_MAX,
  quote,
  type TaskName,
} from '../protocol/index.ts'
import type { EffectId } from './effect.ts'
import type { Instance } from './instance.ts'
import { INSTANCE_LIMITS } from './instance-data.ts'
import { parsePayload } from './parse-payload.ts'
import type { Scope } from './scope.ts'
import { dropSleep, startSleep } from './sleeps.ts'

export interface OpenTask {
  readonly name: string
  readonly input: unknown
  readonly dueMs: number | undefined
  readonly heartbeatMs: number | undefined
  /** Timers of the deadline and of the next heartbeat. */
  deadline: EffectId | undefined
  heartbeat: EffectId | undefined
}

/** What the tokens of a cluster without a secret of its own are made with: in tests. */
const NO_SECRET = 'carillon'

/** What `ctx.task` does. */
export function openTask(
  instance: Instance,
  name: string,
  args: readonly unknown[],
  scope: Scope | undefined,
): Task<unknown> {
  const { shape } = instance.implementation.contract
  if (!Object.hasOwn(shape.tasks ?? {}, name))
    throw new CarillonError(
      'UNKNOWN_NAME',
      `${instance.type} declares no task ${quote(name)}; it has: ${Object.keys(shape.tasks ?? {}).join(', ') || 'none'}`,
    )
  const schema = shape.tasks?.[name]?.input
  const [given, options = {}] = (schema === undefined ? [undefined, ...args] : args) as [unknown, TaskOptions?]
  if (instance.tasks.size >= INSTANCE_LIMITS.tasks)
    throw new CarillonError(
      'LIMIT_REACHED',
      `${instance.type}/${instance.id} has ${INSTANCE_LIMITS.tasks} tasks open, the most there may be`,
    )
  if (scope?.error !== undefined) throw scope.error
  const turn = instance.requireTurn()
  const input = kept(validate(schema, given, `the task ${name}`), name)
  const dueMs = options.deadline === undefined ? undefined : endOf(options.deadline, turn.nowMs)
  const heartbeatMs = options.heartbeat === undefined ? undefined : toMs(options.heartbeat)
  const id = turn.nextEffectId()
  const task: OpenTask = { name, input, dueMs, heartbeatMs, deadline: undefined, heartbeat: undefined }
  const { tasks } = instance
  tasks.set(id, task)
  const result = instance.waits.forEffect(id, scope)
  if (dueMs !== undefined)
    task.deadline = expireAt(instance, id, dueMs, `was not completed within ${dueMs - turn.nowMs} ms`)
  awaitHeartbeat(instance, id, task)
  return {
    token: tokenOf(instance, id),
    dueMs,
    get isOpen() {
      return tasks.get(id) === task
    },
    result,
  }
}

/** Nobody waits for it any more. */
export function letGoOfTask(instance: Instance, id: EffectId): void {
  const task = instance.tasks.get(id)
  if (task === undefined) return
  instance.tasks.delete(id)
  for (const timer of [task.deadline, task.heartbeat]) if (timer !== undefined) dropSleep(instance, timer)
}

/** The open tasks, as they are shown. */
export function tasksOf(instance: Instance): readonly OpenTaskRow[] {
  return [...instance.tasks].map(([id, task]) => rowOf(task, tokenOf(instance, id)))
}

/** Applies a signal whose name is that of a deed with a token. False when it is about no task. */
export function stepTask(instance: Instance, input: Input, raw: unknown): boolean {
  const named = parseTaskName(input.name)
  if (named === undefined) return false
  const { effect, mac } = named
  if (!isMacOf(mac, instance.key, effect, secretOf(instance))) instance.deadLetter(input, unknownToken(instance))
  else {
    const task = instance.tasks.get(effect)
    if (task === undefined) instance.deadLetter(input, closedTask(instance))
    else apply(instance, input, named, task, raw)
  }
  return true
}

function apply(instance: Instance, input: Input, { deed, effect }: TaskName, task: OpenTask, raw: unknown): void {
  if (deed === 'heartbeat') awaitHeartbeat(instance, effect, task)
  else {
    const outcome = parsePayload(() => (deed === 'complete' ? completed(instance, task, raw) : refused(raw)))
    if (!outcome.ok) return instance.deadLetter(input, outcome.error)
    letGoOfTask(instance, effect)
    instance.settleWait(effect, outcome.value, 'TASK_FAILED')
  }
  instance.finish(input, { ok: true })
}

function completed(instance: Instance, { name }: OpenTask, raw: unknown): Outcome {
  const { output } = instance.implementation.contract.shape.tasks?.[name] ?? {}
  return { ok: true, value: validate(output, raw, `the result of the task ${name}`) }
}

/** What a task was failed with: an error as data, or a text. Anything else is a failure without words. */
function refused(raw: unknown): Outcome {
  const { code, message, details } = (typeof raw === 'object' && raw !== null ? raw : { message: raw }) as {
    readonly [field in 'code' | 'message' | 'details']?: unknown
  }
  const error = {
    code: typeof code === 'string' && code !== '' ? code : 'TASK_FAILED',
    message: typeof message === 'string' ? message : 'the task was failed',
  }
  return { ok: false, error: details === undefined ? error : { ...error, details } }
}

function awaitHeartbeat(instance: Instance, id: EffectId, task: OpenTask): void {
  const { heartbeatMs } = task
  if (heartbeatMs === undefined) return
  if (task.heartbeat !== undefined) dropSleep(instance, task.heartbeat)
  const dueMs = instance.requireTurn().nowMs + heartbeatMs
  task.heartbeat = expireAt(instance, id, dueMs, `gave no heartbeat for ${heartbeatMs} ms`)
}

function expireAt(instance: Instance, id: EffectId, dueMs: number, what: string): EffectId {
  const timer = startSleep(instance, { until: dueMs })
  const expire = (): void => {
    const task = instance.tasks.get(id)
    if (task === undefined) return
    letGoOfTask(instance, id)
    const error: ErrorData = { code: 'TIMEOUT', message: `the task ${task.name} ${what}` }
    instance.settleWait(id, { ok: false, error }, 'TIMEOUT')
  }
  instance.waits.forEffect(timer, undefined).then(expire, () => {})
  return timer
}

function rowOf({ name, dueMs, input }: OpenTask, token: string): OpenTaskRow {
  return { name, token, ...(dueMs === undefined ? {} : { dueMs }), ...(input === undefined ? {} : { input }) }
}

function tokenOf({ key, implementation }: Instance, id: EffectId): string {
  return formatTaskToken(key, id, implementation.taskSecret ?? NO_SECRET)
}

function secretOf({ implementation }: Instance): string {
  return implementation.taskSecret ?? NO_SECRET
}

function kept(input: unknown, name: string): unknown {
  const size = encodeValue(input).length
  if (size <= PAYLOAD_BYTES_MAX) return copyValue(input)
  throw new CarillonError(
    'PAYLOAD_TOO_LARGE',
    `the input of the task ${name} has ${size} bytes, over ${PAYLOAD_BYTES_MAX}: pass a reference instead`,
  )
}

function unknownToken({ type, id }: Instance): ErrorData {
  return { code: 'NOT_FOUND', message: `this is no token of a task of ${type}/${id}: pass it on as ctx.task gave it` }
}

function closedTask({ type, id }: Instance): ErrorData {
  return {
    code: 'CLOSED',
    message: `the task of ${type}/${id} is not open any more: it was completed, its time was over, or nobody waits for it`,
  }
}
