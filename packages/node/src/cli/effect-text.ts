/** Effects of a re-fold as text, for people. */
import type { RefoldEffect } from '@carillon/runtime/replay'

import { toJson } from './output.ts'

export function formatEffect(effect: RefoldEffect): string {
  switch (effect.kind) {
    case 'activity':
      return `activity ${effect.name} ${effect.id} ${toJson(effect.input)}`
    case 'timer':
      return `timer ${effect.name} ${effect.id} at ${new Date(effect.dueMs).toISOString()}`
    case 'activity-done':
    case 'timer-done':
      return `${effect.kind} ${effect.id}`
    case 'send':
      return `${effect.inputKind} ${effect.name} to ${effect.target} ${effect.id} ${toJson(effect.payload)}`
    case 'dead':
      return `dead letter of seq ${effect.seq}: ${effect.reason.code}: ${effect.reason.message}`
    case 'reply':
      return `reply to seq ${effect.seq}: ${effect.outcome.ok ? toJson(effect.outcome.value) : effect.outcome.error.code}`
    case 'closed':
      return 'closed'
  }
}
