/** The contracts of schedules, and of the reports that they start: what operators' tools and nodes share. */
import { defineWorkflow, parseCron, type } from '@carillon/runtime'
import { z } from 'zod'

const spec = z
  .object({
    /** 5 fields, or 6 with seconds in front. */
    cron: z.string(),
    timeZone: z.string().default('UTC'),
    /** What happens at a moment while the report of an earlier one is under way: nothing, it waits, or it begins too. */
    overlap: z.enum(['skip', 'queue', 'allow']).default('skip'),
    /** Which report. */
    report: z.string().min(1).max(100),
  })
  .superRefine(({ cron, timeZone }, issues) => {
    try {
      parseCron(cron, timeZone)
    } catch (error) {
      issues.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) })
    }
  })

export type ScheduleSpec = z.output<typeof spec>

const moment = z.number().int().nonnegative()

export interface Ended {
  /** The moment that it was for, ISO 8601. */
  readonly asOf: string
  /** What came of it, in words. */
  readonly outcome: string
}

export interface ScheduleStatus {
  readonly spec: ScheduleSpec | undefined
  readonly pausedBecause: string | undefined
  /** When it acts next, milliseconds since the epoch; undefined while it is paused. */
  readonly nextMs: number | undefined
  /** Moments whose reports are under way. */
  readonly running: readonly string[]
  /** How many wait for those. */
  readonly waiting: number
  /** The last ones, the newest last. */
  readonly ended: readonly Ended[]
  /** Moments at which nothing was started, because an earlier report was under way. */
  readonly skipped: number
}

/** A schedule: an instance that starts a report at every moment of its pattern. */
export const Schedule = defineWorkflow('schedule', {
  signals: {
    pause: z.object({ because: z.string().max(500) }),
    resume: type<void>(),
    /** Acts as at this moment, or now, also while it is paused. */
    run: z.object({ moment: moment.optional() }),
    /** The schedule ends. Reports that are under way go on. */
    remove: type<void>(),
  },
  updates: {
    /** Makes the schedule, or changes it. Gives its next five moments. */
    set: { input: spec, output: type<{ next: readonly number[] }>() },
    /** Acts as at every moment of the pattern between the two, the second one included. At most 100. */
    backfill: { input: z.object({ afterMs: moment, untilMs: moment }), output: type<{ moments: readonly number[] }>() },
  },
  queries: { status: { output: type<ScheduleStatus>() } },
})

/** What a schedule starts: one instance for each moment. */
export const Report = defineWorkflow('report', {
  input: type<{ report: string; asOf: string }>(),
  result: type<{ rows: number }>(),
  activities: {
    write: {
      input: type<{ report: string; asOf: string }>(),
      output: type<{ rows: number }>(),
      startToClose: '1 minute',
    },
  },
})
