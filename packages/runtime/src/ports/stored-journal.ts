/** The journal as it is stored, for whoever trims it. */
import type { LogBounds } from './input-log.ts'

export interface JournalState extends LogBounds {
  readonly messages: number
  /** As the servers count them. */
  readonly bytes: number
}

/** Calls are tried again under the hood. @throws JETSTREAM_UNAVAILABLE when nobody answers. */
export interface StoredJournal {
  state(): Promise<JournalState>
  /** When the first message was stored that is not below a sequence, milliseconds since the epoch; undefined where there is none. */
  timeFrom(seq: number): Promise<number | undefined>
  /** Removes every message below a sequence. Those who publish may have to wait meanwhile. */
  trim(firstSeq: number): Promise<void>
}
