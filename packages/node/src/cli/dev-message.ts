/** What a node tells `carillon dev`, its parent, over their channel. */
import type { Workflows } from '../node.ts'

export interface ReadyMessage {
  readonly kind: 'ready'
  readonly workflows: readonly WorkflowSummary[]
}

/** What dev needs to say how to send a first signal. */
export interface WorkflowSummary {
  readonly type: string
  readonly startOnSignal: boolean
  readonly signals: readonly string[]
  readonly queries: readonly string[]
}

export function summaryOf({ implementations }: Workflows): readonly WorkflowSummary[] {
  return implementations.map(({ contract, startOnSignal }) => ({
    type: contract.name,
    startOnSignal,
    signals: Object.keys(contract.shape.signals ?? {}),
    queries: Object.keys(contract.shape.queries ?? {}),
  }))
}

/** Tells the parent, if there is one that listens. */
export function tellReady(workflows: readonly WorkflowSummary[]): void {
  const message: ReadyMessage = { kind: 'ready', workflows }
  if (process.connected) process.send?.(message)
}

export function isReady(message: unknown): message is ReadyMessage {
  return typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'ready'
}
