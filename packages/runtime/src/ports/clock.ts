/** The host's clock as a port: real in production, virtual in tests. Workflow code never sees it. */
export interface Clock {
  /** Milliseconds since the epoch. It may jump. */
  nowMs(): number
  /** Calls back once, `delayMs` later; the returned function cancels. */
  after(delayMs: number, callback: () => void): () => void
  /** Resolves after the host has had a chance to do its I/O. */
  yield(): Promise<void>
}

const { setTimeout: hostSetTimeout, clearTimeout: hostClearTimeout, setImmediate: hostSetImmediate } = globalThis
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** The host's own clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, callback) {
    const timer = hostSetTimeout(callback, Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS))
    return () => hostClearTimeout(timer)
  },
  yield: () => new Promise((resolve) => void hostSetImmediate(resolve)),
}
