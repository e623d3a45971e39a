/** Sleeps whose end may move. They are made of conditions with a deadline, so they are folded as those are. */
import type { Context } from '../contract/context.ts'
import { type Duration, toMs } from '../contract/duration.ts'
import { type Moment, toMomentMs } from '../contract/moment.ts'
import type { WaitTimer } from '../contract/wait-timer.ts'

/** Waits until the moment that the function gives, asked again after every turn. */
export async function sleepUntil(ctx: Context, moment: () => Moment): Promise<void> {
  let dueMs = toMomentMs(moment())
  while (dueMs > ctx.now()) {
    const until = dueMs
    const hasMoved = await ctx.condition(() => toMomentMs(moment()) !== until, { until })
    if (!hasMoved) return
    dueMs = toMomentMs(moment())
  }
}

/** One setting of the timer, from when it is set until it fires or is cancelled. */
interface Setting {
  dueMs: number
  isOver: boolean
  readonly ended: Promise<boolean>
}

export function createWaitTimer(ctx: Context, duration: Duration): WaitTimer {
  let setting = begin(ctx, ctx.now() + toMs(duration))
  const set = (dueMs: number): void => {
    if (setting.isOver) setting = begin(ctx, dueMs)
    else setting.dueMs = dueMs
  }
  return {
    get dueMs() {
      return setting.isOver ? undefined : setting.dueMs
    },
    reset: (later) => set(ctx.now() + toMs(later)),
    resetAt: (moment) => set(toMomentMs(moment)),
    cancel: () => void (setting.isOver = true),
    // oxlint-disable-next-line unicorn/no-thenable -- it is made to be awaited
    then: (fulfilled, rejected) => setting.ended.then(fulfilled, rejected),
  }
}

function begin(ctx: Context, dueMs: number): Setting {
  const setting = { dueMs, isOver: false }
  const wait = async (): Promise<boolean> => {
    await sleepUntil(ctx, () => (setting.isOver ? 0 : setting.dueMs))
    const hasFired = !setting.isOver
    setting.isOver = true
    return hasFired
  }
  const ended = wait()
  // Nobody may await it, so a rejection must not count as unhandled.
  ended.catch(() => {})
  return Object.assign(setting, { ended })
}
