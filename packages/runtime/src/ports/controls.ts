/**
 * What operators have set for a whole namespace, as a port: an entry of the cluster's bucket in production, memory in tests.
 *
 * It stands outside the journals, so each node sees a change at a moment of its own. It may only decide *when* something happens: what the fold of a
 * journal gives must be the same with any state at any time.
 */
import { type ControlState, NOTHING_PAUSED } from '../protocol/index.ts'

export interface Controls {
  /** The state as of the last look. Never throws. */
  current(): ControlState
  /** Calls back with each state that differs from the one before, until the returned function is called. Not with the current one. */
  watch(onChange: (state: ControlState) => void): () => void
}

/** Nobody sets anything. */
export const noControls: Controls = { current: () => NOTHING_PAUSED, watch: () => () => {} }
