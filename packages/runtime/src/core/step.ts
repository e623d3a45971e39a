/**
 * The pure step: applies one input to one instance. No I/O; asynchronous only as far as user code's own microtasks are.
 *
 * Invariants
 * 1. The result depends on the instance and the input alone.
 * 2. Every input ends as exactly one of: applied (or queued, to be applied in order), duplicate, dead-lettered, or poison (then nothing of the
 *    turn may be kept).
 */
import { CarillonError, toErrorData } from '../errors.ts'
import { type Input, type Mark, type Outcome, PROTOCOL_VERSION } from '../protocol/index.ts'
import { stepAnswer } from './calls.ts'
import { letGoOfChildren, tellParent } from './children.ts'
import type { Effect } from './effect.ts'
import { runAgain } from './firings.ts'
import type { Instance } from './instance.ts'
import { emptyData } from './instance-data.ts'
import { MARKED_PLACE, stepDead, stepObeyed } from './marked.ts'
import type { Culprit } from './standing.ts'
import { stepAdmin } from './step-admin.ts'
import { renew, takeUpRenewal } from './renewal.ts'
import { armRetention } from './retention.ts'
import { stepChild } from './step-child.ts'
import { stepActivity } from './step-result.ts'
import { stepCancel } from './step-cancel.ts'
import { stepSignal } from './step-signal.ts'
import { stepStart } from './step-start.ts'
import { stepTimer } from './step-timer.ts'
import { stepUpdate } from './step-update.ts'
import { terminate } from './terminate.ts'
import { drainMicrotasks, enterTurn, leaveTurn, Turn } from './turn.ts'
import { letGoOfUnheard } from './unheard.ts'

export type TurnResult =
  | { readonly kind: 'applied'; readonly effects: readonly Effect[] }
  /** User code threw, or did what it must not: throw the instance away, rebuild it without this input, and suspend it here. */
  | { readonly kind: 'poisoned'; readonly error: unknown; readonly culprit: Culprit | undefined }

/** Applies an input. Synchronous unless user code is. The caller awaits it before it does anything else (turn.ts, invariant 1). */
export function applyInput(instance: Instance, input: Input): TurnResult | Promise<TurnResult> {
  if (instance.data.renewal === undefined) return runTurn(instance, input)
  return takeUp(instance).then((result) => (result.kind === 'poisoned' ? result : runTurn(instance, input)))
}

/** Brings an instance that was read from a base (renewal.ts) to the end of the turn that made it. The effects have been given by that turn. */
export async function takeUp(instance: Instance): Promise<TurnResult> {
  const turn = new Turn(instance.key, instance.data.seq, instance.data.timeMs)
  instance.turn = turn
  enterTurn(turn)
  try {
    dispatchRenewed(instance, takeUpRenewal(instance))
  } catch (error) {
    instance.poisonWith(error)
  }
  goOn(instance)
  await settle(instance)
  return endTurn(instance, turn)
}

function runTurn(instance: Instance, input: Input): TurnResult | Promise<TurnResult> {
  const turn = new Turn(instance.key, input.seq, Math.max(instance.data.timeMs, input.timeMs))
  instance.turn = turn
  enterTurn(turn)
  if (instance.poison === undefined) {
    try {
      if (input.mark === undefined) receiveInput(instance, input)
      else receiveMarked(instance, input, input.mark)
    } catch (error) {
      instance.poisonWith(error)
    }
  }
  goOn(instance)
  if (!instance.unsettled && !instance.waits.isFresh) return endTurn(instance, turn)
  return settle(instance).then(() => endTurn(instance, turn))
}

/** Lets user code run as far as it can: microtasks, conditions that have come true, the close, and again while that woke something. */
async function settle(instance: Instance): Promise<void> {
  while ((instance.unsettled || instance.waits.isFresh) && instance.poison === undefined) {
    instance.unsettled = false
    instance.waits.isFresh = false
    await drainMicrotasks()
    goOn(instance)
  }
}

/** Whatever the turn changed may be what a condition looks at, or the last thing before a close. */
function goOn(instance: Instance): void {
  if (instance.poison !== undefined) return
  try {
    checkConditions(instance)
    settleClose(instance)
  } catch (error) {
    instance.poisonWith(error)
  }
}

function endTurn(instance: Instance, turn: Turn): TurnResult {
  if (instance.poison === undefined) instance.checkForLostCoroutine()
  if (instance.poison === undefined) letGoOfUnheard(instance)
  leaveTurn()
  instance.turn = undefined
  instance.isLenient = false
  if (instance.poison !== undefined) return { kind: 'poisoned', ...instance.poison }
  // An absent instance leaves memory when it pleases the host: it must remember nothing until it is started.
  if (instance.data.phase.kind === 'absent') instance.data = emptyData(instance.implementation.knownIdsMax)
  else instance.data.timeMs = turn.nowMs
  instance.data.seq = turn.seq
  return { kind: 'applied', effects: turn.effects }
}

function receiveMarked(instance: Instance, input: Input, { terminate: reason, dead, lenient, outcome }: Mark): void {
  instance.requireTurn().resumeAt(MARKED_PLACE)
  instance.isLenient = lenient === true
  if (reason !== undefined && instance.data.phase.kind === 'running') {
    terminate(instance, reason)
    settleClose(instance)
  }
  if (dead !== undefined) return stepDead(instance, input, dead)
  if (outcome !== undefined) return stepObeyed(instance, input, outcome)
  receiveInput(instance, input)
}

function receiveInput(instance: Instance, input: Input): void {
  if (input.version !== PROTOCOL_VERSION) {
    throw new CarillonError(
      'UNKNOWN_VERSION',
      `the input at seq ${input.seq} has schema version ${input.version}, this build knows ${PROTOCOL_VERSION}: deploy the newer build, then resume`,
    )
  }
  if (input.kind === 'activity') return stepActivity(instance, input)
  if (input.kind === 'timer') return stepTimer(instance, input)
  if (input.kind === 'child') return stepChild(instance, input)
  if (input.kind === 'answer') return stepAnswer(instance, input)
  if (input.id !== undefined) {
    const known = instance.data.known.get(input.id)
    if (known !== undefined) return instance.answerRepeat(input, known.outcome)
    instance.data.known.add(input.id, input.seq)
  }
  dispatch(instance, input)
}

function dispatch(instance: Instance, input: Input): void {
  switch (input.kind) {
    case 'start':
      return stepStart(instance, input)
    case 'signal':
      return stepSignal(instance, input)
    case 'update':
      return stepUpdate(instance, input)
    case 'cancel':
      return stepCancel(instance, input)
    case 'admin':
      return stepAdmin(instance, input)
    default:
      throw new CarillonError('UNKNOWN_NAME', `an input of kind ${input.kind} does not go by its id`)
  }
}

function checkConditions(instance: Instance): void {
  const timeouts = instance.waits.checkConditions()
  if (timeouts === undefined) return
  instance.unsettled = true
  for (const id of timeouts) {
    const dueMs = instance.data.sleeps.get(id)
    if (dueMs === undefined) continue
    instance.data.sleeps.delete(id)
    instance.emit({ kind: 'timer-done', id, dueMs })
  }
}

/** Closes the instance if that was asked for and everything in front of it is done; the inputs behind it go by the start rules. */
function settleClose(instance: Instance): void {
  let closable = instance.poison === undefined ? instance.takeClosable() : undefined
  while (closable !== undefined) {
    const { ending, behind } = closable
    if (ending.kind === 'renew') {
      renew(instance, ending.input, ending.state, behind)
      dispatchRenewed(instance, behind)
    } else {
      close(instance, ending.outcome)
      for (const input of behind) {
        // A timer that fired behind the close is of the life that ended.
        if (input.kind === 'timer') instance.emit({ kind: 'ignored', input })
        else dispatch(instance, input)
      }
    }
    closable = instance.poison === undefined ? instance.takeClosable() : undefined
  }
}

function dispatchRenewed(instance: Instance, behind: readonly Input[]): void {
  for (const input of behind) {
    if (input.kind === 'timer') runAgain(instance, input)
    else dispatch(instance, input)
  }
}

function close(instance: Instance, outcome: Outcome): void {
  const { data } = instance
  const turn = instance.requireTurn()
  for (const input of data.mailbox)
    instance.deadLetter(
      input,
      toErrorData(
        new CarillonError('UNRECEIVED', `${instance.type}/${instance.id} closed before it received this signal`),
        'UNRECEIVED',
      ),
    )
  for (const id of data.activities.keys()) instance.emit({ kind: 'activity-done', id })
  for (const { effect, dueMs } of data.timers.values()) instance.emit({ kind: 'timer-done', id: effect, dueMs })
  for (const [id, dueMs] of data.sleeps) instance.emit({ kind: 'timer-done', id, dueMs })
  tellParent(instance, data.parent, outcome)
  letGoOfChildren(instance)
  data.parent = undefined
  data.calls = new Map()
  data.mailbox = []
  data.activities = new Map()
  data.timers = new Map()
  data.repeats = undefined
  data.sleeps = new Map()
  const startedMs = data.phase.kind === 'absent' ? turn.nowMs : data.phase.startedMs
  data.phase = { kind: 'closed', startedMs, seq: turn.seq, timeMs: turn.nowMs, outcome }
  armRetention(instance)
  instance.emit({ kind: 'closed', seq: turn.seq })
}
