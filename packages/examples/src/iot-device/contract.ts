/** The contract of a device: what it sends as plain JSON, and what may be asked about it. */
import { defineWorkflow, type } from '@carillon/runtime'
import { z } from 'zod'

/** `n` rises with each message of a device: a transport that delivers twice changes nothing. */
const telemetry = z.object({
  n: z.number().int().nonnegative(),
  event: z.enum(['reading', 'rejected', 'offline']),
  celsius: z.number().optional(),
})

export type Telemetry = z.infer<typeof telemetry>
export type TelemetryEvent = Telemetry['event']

export interface DeviceStatus {
  readonly lastN: number
  readonly celsius: number | undefined
  readonly online: boolean
  readonly reprovisioned: number
}

/** One instance for each device; its id is the device's. */
export const Device = defineWorkflow('device', {
  signals: { telemetry },
  queries: { status: { output: type<DeviceStatus>() } },
  activities: {
    /** Gives the device new credentials. */
    reprovision: { input: type<{ afterN: number }>(), startToClose: '30 seconds' },
  },
})
