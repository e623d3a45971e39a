/** A moment until which something may take, and how to wait within it. */
import { CarillonError } from '@carillon/runtime'

/** The longest a timer of Node can wait, in milliseconds: anything above fires at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

export class Deadline {
  readonly timeoutMs: number
  readonly #endMs: number

  /** @throws CONFIG_INVALID when the time-out is not a positive number; `Infinity` is one. */
  constructor(timeoutMs: number) {
    if (!(timeoutMs > 0)) throw new CarillonError('CONFIG_INVALID', `timeoutMs is ${timeoutMs}: give a number above 0`)
    this.timeoutMs = timeoutMs
    this.#endMs = performance.now() + timeoutMs
  }

  /** Milliseconds left; 0 when it has passed. */
  get leftMs(): number {
    return Math.max(0, this.#endMs - performance.now())
  }

  get hasPassed(): boolean {
    return this.leftMs === 0
  }
}

/** Resolves after `ms`, or at once when the signal is aborted. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, Math.min(ms, TIMER_MS_MAX))
    signal.addEventListener('abort', end)
  })
}

/** What the promise gives, or undefined when it takes longer than `ms`. The timer is gone either way. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, Math.min(ms, TIMER_MS_MAX), undefined)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
