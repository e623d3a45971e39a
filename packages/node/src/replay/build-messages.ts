/** What a build's process is asked, and answers: structured clones over the channel of the child process, one question at a time. */
import type { Misfit } from '@carillon/runtime/core'
import type { RefoldStep } from '@carillon/runtime/replay'

/** A message of the journal, as it can be cloned. */
export interface PlainMessage {
  readonly subject: string
  readonly seq: number
  readonly timeMs: number
  readonly payload: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

/** A type that a build implements. */
export interface BuildType {
  readonly name: string
  readonly version: number
  readonly patches: readonly string[]
}

/** One input as a build has folded it. */
export interface BuildStep extends RefoldStep {
  /** Of the state behind it; empty unless it was asked for. */
  readonly stateHash: string
  /** What the journal has at this place and the build did not ask for. */
  readonly mismatch: string | undefined
}

/** Where an instance stands. */
export interface BuildLook {
  readonly seq: number
  readonly status: string
  readonly digest: string | undefined
  readonly state: unknown
  readonly version: number
  readonly suspendedAt: number | undefined
  /** The input with which its oldest code began that is not over. */
  readonly waitingSince: number | undefined
  /** Activities and timers without a result, as `describe` has them. */
  readonly waits: readonly string[]
}

export type BuildComparison =
  | { readonly isEqual: true }
  | { readonly isEqual: false; readonly migrated: unknown }
  | { readonly isEqual: false; readonly misfit: Misfit['error'] }
