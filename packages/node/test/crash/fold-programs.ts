/**
 * What the workflows of the kill test do, written a second time without Carillon: generators that yield what they wait for.
 *
 * workflows.ts has the originals. Change both or neither.
 */
import { createHash } from 'node:crypto'

export type Wait =
  | { readonly kind: 'call'; readonly input: { readonly op: string; readonly n: number } }
  | { readonly kind: 'sleep'; readonly ms: number }
  | { readonly kind: 'condition'; readonly test: () => boolean; readonly ms: number }
  | { readonly kind: 'receive' }

/** Yields waits, is resumed with what came of them, and returns what the sender of an update gets. */
export type Program = Generator<Wait, unknown, unknown>

/** What a program may ask of its instance besides waiting. */
export interface Host {
  readonly now: number
  setTick(delayMs: number): void
  cancelTick(): void
}

/** Thrown by a program to refuse an update. */
export class Rejected extends Error {}
/** Thrown by a program where its original has a bug. */
export class Bug extends Error {}

export class LedgerModel {
  n = 0
  chain = ''
  recent: string[] = []
  ticks = 0
  taken = 0

  view(): object {
    return { n: this.n, chain: this.chain, recent: this.recent, ticks: this.ticks, taken: this.taken }
  }

  *put(host: Host, op: string): Program {
    this.n += 1
    this.chain = hash(this.chain, 'put', op)
    this.recent.push(op)
    if (this.recent.length > 5) this.recent.shift()
    const { n } = this
    if (n % 11 === 0) host.cancelTick()
    if (n % 7 === 0) host.setTick(10 + (n % 5) * 20)
    if (n % 5 === 0) yield* this.#stamp(op, n)
    return undefined
  }

  *take(_host: Host, op: string, amount: number): Program {
    if (amount > this.n) throw new Rejected()
    this.taken += amount
    this.chain = hash(this.chain, 'take', op)
    if (amount % 3 === 0) yield* this.#stamp(op, -amount)
    return { taken: this.taken, n: this.n, chain: this.chain }
  }

  *tick(host: Host): Program {
    this.ticks += 1
    this.chain = hash(this.chain, 'tick', String(host.now))
    if (this.ticks % 3 === 0) yield* this.#stamp('tick', this.ticks)
    return undefined
  }

  *#stamp(op: string, n: number): Program {
    const result = yield { kind: 'call', input: { op, n } }
    this.chain = hash(this.chain, 'stamp', String(result))
    return undefined
  }
}

export class StepsModel {
  n = 0
  chain = ''
  credit = 0

  view(): object {
    return { n: this.n, chain: this.chain, credit: this.credit }
  }

  *onCredit(_host: Host, op: string): Program {
    if (op.endsWith('1')) yield* this.#stamp(op, 0)
    this.credit += 1
    this.chain = hash(this.chain, 'credit', op)
    return undefined
  }

  *main(host: Host, limit: number): Program {
    while (this.n < limit) {
      const op = (yield { kind: 'receive' }) as string
      this.n += 1
      this.chain = hash(this.chain, 'item', op)
      if (this.n % 2 === 0) {
        yield { kind: 'sleep', ms: 15 }
        this.chain = hash(this.chain, 'slept', String(host.now))
      }
      if (this.n % 3 === 0) {
        const isMet = (yield { kind: 'condition', test: () => this.credit > 0, ms: 60 }) as boolean
        if (isMet) this.credit -= 1
        this.chain = hash(this.chain, 'condition', `${isMet} ${host.now}`)
      }
      if (this.n % 5 === 0) yield* this.#stamp(op, this.n)
    }
    return { n: this.n, chain: this.chain }
  }

  *#stamp(op: string, n: number): Program {
    const result = yield { kind: 'call', input: { op, n } }
    this.chain = hash(this.chain, 'stamp', String(result))
    return undefined
  }
}

export class StuckModel {
  n = 0
  chain = ''

  view(): object {
    return { n: this.n, chain: this.chain }
  }

  // oxlint-disable-next-line require-yield -- it never waits
  *put(op: string): Program {
    this.n += 1
    this.chain = hash(this.chain, 'put', op)
    return undefined
  }
}

function hash(chain: string, what: string, value: string): string {
  return createHash('sha256').update([chain, what, value].join('\n')).digest('hex').slice(0, 24)
}
