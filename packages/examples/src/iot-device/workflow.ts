/** A device: watches what it sends, and has it provisioned again when its credentials seem to be broken. Runs on the nodes. */
import { type Duration, implement, type Implementation, toMs } from '@carillon/runtime'

import { Device, type DeviceStatus, type TelemetryEvent } from './contract.ts'

export interface DeviceOptions {
  /** The symptoms count when they come within so much time. */
  readonly window: Duration
  /** A device that sends nothing for so long is offline. */
  readonly silence: Duration
}

/** Broken credentials look like this, in this order, whatever comes in between. */
const SYMPTOMS: readonly TelemetryEvent[] = ['rejected', 'rejected', 'offline']

interface State extends DeviceStatus {
  /** When the symptoms seen so far came: the first ones of SYMPTOMS, milliseconds since the epoch. */
  seen: readonly number[]
}

export function createDevice({ window, silence }: DeviceOptions): Implementation {
  const windowMs = toMs(window)
  return implement(Device, {
    // Devices start by themselves: nobody registers them.
    startOnSignal: true,
    state: (): State => ({ lastN: -1, celsius: undefined, online: false, reprovisioned: 0, seen: [] }),
    on: {
      async telemetry(ctx, { n, event, celsius }) {
        if (n <= ctx.state.lastN) return
        const seen = nextSeen(ctx.state.seen, event, ctx.now(), windowMs)
        const isBroken = seen.length === SYMPTOMS.length
        const { reprovisioned } = ctx.state
        ctx.state = {
          lastN: n,
          celsius: celsius ?? ctx.state.celsius,
          online: event !== 'offline',
          reprovisioned: reprovisioned + (isBroken ? 1 : 0),
          seen: isBroken ? [] : seen,
        }
        if (event === 'offline') ctx.timers.silence.cancel()
        else ctx.timers.silence.set(silence)
        if (isBroken) await ctx.activities.reprovision({ afterN: n })
      },
    },
    queries: {
      status: ({ lastN, celsius, online, reprovisioned }) => ({ lastN, celsius, online, reprovisioned }),
    },
    timers: {
      silence: {
        run: (ctx) => {
          ctx.state = { ...ctx.state, online: false }
        },
      },
    },
  })
}

/** The symptoms seen, with this event. When the first is too old, what is left of them begins anew. */
function nextSeen(seen: readonly number[], event: TelemetryEvent, nowMs: number, windowMs: number): readonly number[] {
  const recent = seen.filter((seenMs) => nowMs - seenMs <= windowMs)
  return event === SYMPTOMS[recent.length] ? [...recent, nowMs] : recent
}

/** What `carillon dev` runs. */
export const device = createDevice({ window: '5 minutes', silence: '10 minutes' })
