import { describe, expect, it } from 'vitest'

import { drainMicrotasks } from './turn.ts'
import { raceOfWaits } from './race.ts'
import { WaitPromise } from './wait-promise.ts'

interface Made {
  readonly promise: WaitPromise<number>
  readonly resolve: (value: number) => void
  readonly changes: boolean[]
}

function made(): Made {
  const changes: boolean[] = []
  let resolve: (value: number) => void = () => {}
  const promise = new WaitPromise<number>((settle) => (resolve = settle))
  WaitPromise.watch(promise, { heardChanged: (isHeard) => void changes.push(isHeard) })
  return { promise, resolve, changes }
}

async function* given(promise: Promise<number>): AsyncGenerator<number> {
  yield promise
}

/** Nobody listens to it. */
const ignore: (promise: Promise<unknown>) => void = () => {}

const listeners: Readonly<Record<string, (promise: Promise<number>) => unknown>> = {
  await: async (promise) => void (await promise),
  'then()': (promise) => promise.then(() => {}),
  catch: (promise) => promise.catch(() => {}),
  finally: (promise) => promise.finally(() => {}),
  'then of the prototype': (promise) => Promise.prototype.then.call(promise, () => {}),
  'Promise.resolve': (promise) => Promise.resolve(promise),
  'a promise resolved with it': (promise) => new Promise((resolve) => resolve(promise)),
  'an async function that returns it': async (promise) => promise,
  'Promise.all': (promise) => Promise.all([promise, Promise.resolve()]),
  'Promise.allSettled': (promise) => Promise.allSettled([promise]),
  'Promise.any': (promise) => Promise.any([promise, new Promise(() => {})]),
  'Promise.race of the language': (promise) => Promise.race([promise, new Promise(() => {})]),
  'a generator': (promise) => given(promise).next(),
}

describe('a promise of a wait', () => {
  it.each(Object.keys(listeners))('knows that it is heard by %s, and gives it what it resolves to', async (name) => {
    const { promise, resolve, changes } = made()
    await drainMicrotasks()
    expect(promise.isHeard).toBe(false)
    const heard = Promise.resolve(listeners[name]?.(promise))
    await drainMicrotasks()
    expect(promise.isHeard).toBe(true)
    expect(changes).toEqual([true])
    resolve(7)
    await heard
  })

  it('is a promise as any other', async () => {
    const { promise, resolve } = made()
    resolve(7)
    expect(promise).toBeInstanceOf(Promise)
    expect(promise.then(() => {})).not.toBeInstanceOf(WaitPromise)
    expect(await promise).toBe(7)
    expect(await promise.then((n) => n + 1)).toBe(8)
  })

  it('wakes listeners in the order in which promises were settled, as the language has it', async () => {
    const log: string[] = []
    const wait = made()
    let settle: () => void = () => {}
    const plain = new Promise<void>((resolve) => (settle = resolve))
    const listen = async (): Promise<unknown> => log.push(`wait ${await wait.promise}`)
    ignore(listen())
    ignore(plain.then(() => log.push('plain')))
    await drainMicrotasks()
    wait.resolve(1)
    settle()
    await drainMicrotasks()
    expect(log).toEqual(['wait 1', 'plain'])
  })

  it('is heard by a race until that is over, but not if somebody else listens', async () => {
    const [winner, loser, both] = [made(), made(), made()]
    const race = raceOfWaits([winner.promise, loser.promise, both.promise, new Promise(() => {})])
    ignore(both.promise.then(() => {}))
    expect([winner, loser, both].map(({ promise }) => promise.isHeard)).toEqual([true, true, true])
    winner.resolve(1)
    expect(await race).toBe(1)
    expect([loser, both].map(({ promise }) => promise.isHeard)).toEqual([false, true])
    expect(loser.changes).toEqual([true, false])
    loser.resolve(2)
    await drainMicrotasks()
    expect(await loser.promise).toBe(2)
  })

  it('loses a race against what is no wait, and against a rejection', async () => {
    const [first, second] = [made(), made()]
    expect(await raceOfWaits([first.promise, 5])).toBe(5)
    await expect(raceOfWaits([second.promise, Promise.reject(new Error('no'))])).rejects.toThrow('no')
    expect([first, second].map(({ promise }) => promise.isHeard)).toEqual([false, false])
    expect(raceOfWaits([Promise.resolve(1), 2])).toBeUndefined()
  })
})
