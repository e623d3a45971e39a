/** Bounds and paces of one engine, each with its unit and reason. */
export interface EngineLimits {
  /** Time between the first change and the commit that holds it. Longer: fewer writes; shorter: less to fold again after a crash. */
  readonly commitEveryMs: number
  /** Instances in memory; the ones that were idle longest leave first. */
  readonly residentsMax: number
  /** Estimated bytes of the instances in memory. */
  readonly residentBytesMax: number
  /** Turns run for at most this long before the host may do its I/O. */
  readonly sliceMs: number
  /** Attempts of activities that run at once. */
  readonly activitiesMax: number
  /** Calls of activities that wait or rest in memory, of which one activity may hold half; the rest waits in the store. */
  readonly activityQueueMax: number
  /** Timers whose firing is on its way into the journal, per partition. */
  readonly timersInFlightMax: number
  /** Dead letters on their way into their stream. */
  readonly deadInFlightMax: number
  /** Inputs from instances to instances that are on their way into the journal; the rest waits in the store. */
  readonly sendsInFlightMax: number
  /** The bytes of their payloads. */
  readonly sendBytesInFlightMax: number
}

export const ENGINE_LIMITS: EngineLimits = {
  commitEveryMs: 200,
  residentsMax: 50_000,
  residentBytesMax: 512 * 1024 * 1024,
  sliceMs: 8,
  activitiesMax: 100,
  activityQueueMax: 10_000,
  timersInFlightMax: 1000,
  deadInFlightMax: 1000,
  sendsInFlightMax: 2000,
  sendBytesInFlightMax: 32 * 1024 * 1024,
}
