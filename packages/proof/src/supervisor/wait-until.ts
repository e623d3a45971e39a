/** Waiting for a condition, with a deadline. */
import { setTimeout as delay } from 'node:timers/promises'

const LOOK_EVERY_MS = 40

/** True once the condition holds; false when it did not within the time. */
export async function holdsWithin(ms: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const end = performance.now() + ms
  for (;;) {
    if (await condition()) return true
    if (performance.now() > end) return false
    await delay(LOOK_EVERY_MS)
  }
}

/** @throws with the text when the promise takes longer. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
