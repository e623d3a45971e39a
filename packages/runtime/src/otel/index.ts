export { type CarillonTelemetry, openTelemetry, type OpenTelemetryOptions } from './open-telemetry.ts'
export { TurnIds } from './turn-ids.ts'
