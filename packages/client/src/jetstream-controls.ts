/**
 * What is set for the whole namespace, watched in the cluster's bucket.
 *
 * Owns: the state as of the last look, and when to look next.
 * Does not own: the connection, which must outlive it.
 *
 * Invariants
 * 1. A change is seen within `LOOK_EVERY_MS` while the server answers, after any loss of the connection or of a stream's leader: it is asked for, not
 *    pushed. Whoever can, hears of it sooner.
 * 2. While the server gives no answer, the last state stands.
 */
import { type Clock, type Controls, type Logger } from '@carillon/runtime/ports'
import { type ControlState, formatControls, type Subjects } from '@carillon/runtime/protocol'
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection, Subscription } from '@nats-io/transport-node'

import { controlsSubject, readControls } from './controls.ts'
import { apiOptions } from './jetstream-api.ts'

const LOOK_EVERY_MS = 1000
/** The entry is on its way into the stream when it is heard of. */
const LOOK_SOON_MS = 20
const REQUEST_MS = 2000

export interface JetStreamControlsOptions {
  readonly nc: NatsConnection
  readonly subjects: Subjects
  readonly clock: Clock
  readonly logger: Logger
  /** Where this account finds JetStream's API; undefined for `$JS.API`. */
  readonly jetStreamPrefix?: string | undefined
}

export class JetStreamControls implements Controls {
  readonly #options: JetStreamControlsOptions
  readonly #manager: JetStreamManager
  readonly #watchers = new Set<(state: ControlState) => void>()
  readonly #subscription: Subscription
  #state: ControlState
  #looking: Promise<void> = Promise.resolve()
  #cancelLook: () => void = () => {}
  #isClosed = false

  private constructor(options: JetStreamControlsOptions, manager: JetStreamManager, state: ControlState) {
    this.#options = options
    this.#manager = manager
    this.#state = state
    this.#subscription = options.nc.subscribe(controlsSubject(options.subjects), {
      callback: () => this.#plan(LOOK_SOON_MS),
    })
    this.#plan(LOOK_EVERY_MS)
  }

  /** Resolves with the first state. Throws as `readControls`. */
  static async open(options: JetStreamControlsOptions): Promise<JetStreamControls> {
    const api = apiOptions(options.jetStreamPrefix)
    const manager = await jetstreamManager(options.nc, { checkAPI: false, timeout: REQUEST_MS, ...api })
    const { state } = await readControls(manager, options.subjects)
    return new JetStreamControls(options, manager, state)
  }

  current(): ControlState {
    return this.#state
  }

  watch(onChange: (state: ControlState) => void): () => void {
    const watcher = (state: ControlState): void => onChange(state)
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Resolves when nothing of it runs. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelLook()
    this.#watchers.clear()
    if (!this.#options.nc.isClosed()) this.#subscription.unsubscribe()
    await this.#looking
  }

  #plan(inMs: number): void {
    if (this.#isClosed) return
    this.#cancelLook()
    this.#cancelLook = this.#options.clock.after(inMs, () => {
      this.#looking = this.#looking.then(() => this.#look()).finally(() => this.#plan(LOOK_EVERY_MS))
    })
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return
    try {
      const { state } = await readControls(this.#manager, this.#options.subjects)
      if (this.#isClosed || formatControls(state) === formatControls(this.#state)) return
      this.#state = state
      this.#options.logger.info(
        { types: [...state.pausedTypes], activities: [...state.pausedActivities] },
        'what is paused has changed',
      )
      for (const tell of this.#watchers) tell(state)
    } catch (error) {
      // Invariant 2. One line for each look would fill the log while the server is gone.
      this.#options.logger.debug({ err: error }, 'what is paused could not be read: the last state stands')
    }
  }
}
