/**
 * `Promise.race` inside of turns: as the language has it, but once it is over it does not count as listening to those that lost (wait-promise.ts).
 * So a sleep that lost against an activity wakes nobody, and need not be waited for.
 */
import { WaitPromise } from './wait-promise.ts'

/** Of waits and whatever else; undefined where no wait is among them, and nothing is different. */
export function raceOfWaits(contenders: readonly unknown[]): Promise<unknown> | undefined {
  const waits = contenders.filter((contender) => contender instanceof WaitPromise)
  if (waits.length === 0) return undefined
  return new Promise((resolve, reject) => {
    let isOver = false
    const end = (): void => {
      if (isOver) return
      isOver = true
      for (const wait of waits) WaitPromise.leave(wait)
    }
    const win = (value: unknown): void => {
      end()
      resolve(value)
    }
    const lose = (error: unknown): void => {
      end()
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- whatever it rejected with
      reject(error)
    }
    for (const contender of contenders) {
      if (contender instanceof WaitPromise) WaitPromise.join(contender, win, lose)
      else Promise.resolve(contender).then(win, lose)
    }
  })
}
