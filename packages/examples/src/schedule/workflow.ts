/**
 * Schedules, and the reports that they start. Runs on the nodes.
 *
 * A handler of a moment lives for as long as its report. All of them run beside each other (`overlap: 'allow'`, `concurrent`), so that a schedule can be
 * asked and changed meanwhile; what overlapping moments mean is a matter of each schedule's own spec.
 */
import { type Context, implement, parseCron, UpdateRejected } from '@carillon/runtime'

import { type Ended, Report, Schedule, type ScheduleSpec } from './contract.ts'

const NEXT_SHOWN = 5
const ENDED_SHOWN = 20
const BACKFILL_MAX = 100
/** Moments that wait for their turn; further ones are skipped. */
const WAITING_MAX = 100

interface State {
  spec: ScheduleSpec | undefined
  pausedBecause: string | undefined
  nextMs: number | undefined
  running: string[]
  /** Tickets of those that wait, in order. */
  waiting: number[]
  tickets: number
  ended: Ended[]
  skipped: number
  isRemoved: boolean
}

type ScheduleContext = Context<typeof Schedule.shape, State, 'tick'>

export const schedule = implement(Schedule, {
  // The first `set` makes it.
  startOnSignal: true,
  state: (): State => ({
    spec: undefined,
    pausedBecause: undefined,
    nextMs: undefined,
    running: [],
    waiting: [],
    tickets: 0,
    ended: [],
    skipped: 0,
    isRemoved: false,
  }),
  on: {
    pause(ctx, { because }) {
      ctx.state.pausedBecause = because
      plan(ctx)
    },
    resume(ctx) {
      ctx.state.pausedBecause = undefined
      plan(ctx)
    },
    run: (ctx, { moment = ctx.now() }) => act(ctx, moment),
    remove(ctx) {
      ctx.state.isRemoved = true
      ctx.complete()
    },
  },
  concurrent: ['run'],
  updates: {
    set(ctx, spec) {
      ctx.state.spec = spec
      plan(ctx)
      return { next: momentsOf(spec, ctx.now(), Infinity, NEXT_SHOWN) }
    },
    backfill(ctx, { afterMs, untilMs }) {
      const { spec } = ctx.state
      if (spec === undefined) throw new UpdateRejected('the schedule has no pattern yet: set it first')
      const moments = momentsOf(spec, afterMs, untilMs, BACKFILL_MAX + 1)
      if (moments.length > BACKFILL_MAX)
        throw new UpdateRejected(`there are more than ${BACKFILL_MAX} moments: take a shorter time`)
      // Signals to itself, so that nobody waits here until all of them are done.
      const self = ctx.workflow(Schedule, ctx.id)
      for (const moment of moments) self.signal('run', { moment })
      return { moments }
    },
  },
  queries: {
    status: ({ spec, pausedBecause, nextMs, running, waiting, ended, skipped }) => ({
      spec,
      pausedBecause,
      nextMs,
      running,
      waiting: waiting.length,
      ended,
      skipped,
    }),
  },
  timers: {
    tick: {
      // Moments at which no node ran are not lost.
      catchUp: 'all',
      overlap: 'allow',
      run(ctx, { dueMs }) {
        ctx.state.nextMs = ctx.timers.tick.dueMs
        return act(ctx, dueMs)
      },
    },
  },
})

export const report = implement(Report, {
  state: () => ({}),
  run: (ctx, input) => ctx.activities.write(input),
})

/** Sets the timer as spec and pause say. */
function plan(ctx: ScheduleContext): void {
  const { spec, pausedBecause } = ctx.state
  if (spec === undefined || pausedBecause !== undefined) ctx.timers.tick.cancel()
  else ctx.timers.tick.cron(spec.cron, { timeZone: spec.timeZone })
  ctx.state.nextMs = ctx.timers.tick.dueMs
}

/** Starts the report of a moment, when the spec lets it, and waits for its end. */
async function act(ctx: ScheduleContext, momentMs: number): Promise<void> {
  const { state } = ctx
  const { spec } = state
  if (spec === undefined || !(await takeTurn(ctx, spec))) return
  const asOf = new Date(momentMs).toISOString()
  state.running.push(asOf)
  // The moment is the id: whoever asks for one twice gets it once while it runs.
  const child = ctx.children.start(
    Report,
    `${ctx.id} ${asOf}`,
    { report: spec.report, asOf },
    { onParentClose: 'abandon' },
  )
  let outcome: string | undefined
  child.result().then(
    ({ rows }) => (outcome = `${rows} rows`),
    (error: unknown) => (outcome = error instanceof Error ? error.message : String(error)),
  )
  await ctx.condition(() => outcome !== undefined || state.isRemoved)
  state.ended = [...state.ended, { asOf, outcome: outcome ?? 'goes on alone' }].slice(-ENDED_SHOWN)
  state.running.splice(state.running.indexOf(asOf), 1)
}

/** False when nothing is to be started at this moment. */
async function takeTurn(ctx: ScheduleContext, { overlap }: ScheduleSpec): Promise<boolean> {
  const { state } = ctx
  const isBusy = state.running.length + state.waiting.length > 0
  if (overlap === 'allow' || !isBusy) return true
  if (overlap === 'skip' || state.waiting.length >= WAITING_MAX) {
    state.skipped += 1
    return false
  }
  const ticket = state.tickets++
  state.waiting.push(ticket)
  await ctx.condition(() => state.isRemoved || (state.running.length === 0 && state.waiting[0] === ticket))
  state.waiting.shift()
  return !state.isRemoved
}

/** The moments of the pattern after one and up to another, at most so many. */
function momentsOf(
  { cron, timeZone }: ScheduleSpec,
  afterMs: number,
  untilMs: number,
  most: number,
): readonly number[] {
  const times = parseCron(cron, timeZone)
  const moments: number[] = []
  let next = times.next(afterMs)
  while (next !== undefined && next <= untilMs && moments.length < most) {
    moments.push(next)
    next = times.next(next)
  }
  return moments
}
