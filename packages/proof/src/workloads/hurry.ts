/** What takes minutes in production takes seconds here, so that a run sees it: how long snapshots must have been stored before the journal is trimmed. */
import { CHECKPOINT_PACE } from '@carillon/runtime/engine'

const SETTLE_MS = 1500

export function hurry(): void {
  Object.assign(CHECKPOINT_PACE, { settleMs: SETTLE_MS })
}
