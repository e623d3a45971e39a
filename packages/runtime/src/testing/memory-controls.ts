/** What operators have set, in memory: the twin of the entry in the cluster's bucket. */
import type { Controls } from '../ports/index.ts'
import { activityKey, type ControlState, encodeToken, NOTHING_PAUSED } from '../protocol/index.ts'

export class MemoryControls implements Controls {
  #state: ControlState = NOTHING_PAUSED
  readonly #watchers = new Set<(state: ControlState) => void>()

  current(): ControlState {
    return this.#state
  }

  watch(onChange: (state: ControlState) => void): () => void {
    const watcher = (state: ControlState): void => onChange(state)
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  setType(type: string, isPaused: boolean): void {
    this.#change({ ...this.#state, pausedTypes: changed(this.#state.pausedTypes, encodeToken(type), isPaused) })
  }

  setActivity(type: string, activity: string, isPaused: boolean): void {
    const pausedActivities = changed(this.#state.pausedActivities, activityKey(type, activity), isPaused)
    this.#change({ ...this.#state, pausedActivities })
  }

  #change(state: ControlState): void {
    this.#state = state
    for (const tell of this.#watchers) tell(state)
  }
}

function changed<T>(set: ReadonlySet<T>, item: T, isIn: boolean): ReadonlySet<T> {
  const next = new Set(set)
  if (isIn) next.add(item)
  else next.delete(item)
  return next
}
