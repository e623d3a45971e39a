/**
 * What the workflows of the fault run do, written a second time without Carillon: generators that yield what they wait for.
 *
 * workloads/workflows.ts has the originals. Change both or neither.
 */
import { createHash } from 'node:crypto'

export type Wait =
  | { readonly kind: 'call'; readonly activity: string; readonly input: object }
  | { readonly kind: 'sleep'; readonly ms: number }

/** Yields waits, is resumed with what came of them, and returns what the sender of an update gets. */
export type Program = Generator<Wait, unknown, unknown>

/** What a program may ask of its instance besides waiting. */
export interface Host {
  readonly now: number
  readonly index: number
  send(target: string, name: string, payload: object): void
  setTimer(delayMs: number): void
  cancelTimer(): void
}

/** What becomes of an input: a program, or why it is refused. */
export type Reaction = { readonly begin: () => Program } | { readonly refused: string }

export interface Model {
  view(): object
  react(host: Host, kind: 'signal' | 'update', name: string, payload: Fields): Reaction
  /** The handler of the timer. */
  fire(host: Host): Program
}

export type Fields = Readonly<Record<string, unknown>>

/** Thrown by a program where its original has a bug. */
export class Bug extends Error {}

const LEDGERS = 200
const RECENT = 5

/** Undefined for a type that nobody registered. */
export function modelOf(type: string): Model | undefined {
  switch (type) {
    case 'ledger':
      return new LedgerModel()
    case 'hot':
      return new HotModel()
    case 'account':
      return new AccountModel()
    case 'sleeper':
      return new SleeperModel()
    case 'fragile':
      return new FragileModel()
    default:
      return undefined
  }
}

class LedgerModel implements Model {
  n = 0
  chain = ''
  recent: string[] = []
  notes = 0
  ticks = 0
  taken = 0

  view(): object {
    const { n, chain, recent, notes, ticks, taken } = this
    return { n, chain, recent, notes, ticks, taken }
  }

  react(host: Host, kind: 'signal' | 'update', name: string, payload: Fields): Reaction {
    const { op, amount, from } = payload
    if (kind === 'update') {
      if (name !== 'take') return { refused: 'UNKNOWN_NAME' }
      if (typeof op !== 'string' || !Number.isInteger(amount)) return { refused: 'INVALID_PAYLOAD' }
      return { begin: () => this.#take(op, amount as number) }
    }
    if (name === 'put') {
      if (typeof op !== 'string') return { refused: 'INVALID_PAYLOAD' }
      return { begin: () => this.#put(host, op) }
    }
    if (name !== 'note') return { refused: 'UNKNOWN_NAME' }
    if (typeof from !== 'string') return { refused: 'INVALID_PAYLOAD' }
    return { begin: () => this.#note(from) }
  }

  *fire(host: Host): Program {
    this.ticks += 1
    this.chain = link(this.chain, 'tick', String(host.now))
    if (this.ticks % 3 === 0) yield* this.#stamp({ op: 'tick', n: this.ticks })
    return undefined
  }

  *#put(host: Host, op: string): Program {
    this.n += 1
    this.chain = link(this.chain, 'put', op)
    this.recent = [...this.recent, op].slice(-RECENT)
    const { n } = this
    if (n % 11 === 0) host.cancelTimer()
    if (n % 7 === 0) host.setTimer(n % 35 === 0 ? 4000 : 20 + (n % 5) * 40)
    if (n % 5 === 0) host.send(`ledger.l${(host.index * 7 + n) % LEDGERS}`, 'note', { from: op })
    if (n % 3 === 0) yield* this.#stamp({ op, n })
    return undefined
  }

  // oxlint-disable-next-line require-yield -- it never waits
  *#note(from: string): Program {
    this.notes += 1
    this.chain = link(this.chain, 'note', from)
    return undefined
  }

  *#take(op: string, amount: number): Program {
    this.taken += amount
    this.chain = link(this.chain, 'take', op)
    if (amount % 3 === 0) yield* this.#stamp({ op, n: -amount })
    return { taken: this.taken, n: this.n, chain: this.chain }
  }

  *#stamp(input: object): Program {
    this.chain = link(this.chain, 'stamp', String(yield { kind: 'call', activity: 'stamp', input }))
    return undefined
  }
}

class HotModel implements Model {
  n = 0
  chain = ''

  view(): object {
    const { n, chain } = this
    return { n, chain }
  }

  react(host: Host, kind: string, name: string, { op }: Fields): Reaction {
    if (kind !== 'signal' || name !== 'hit') return { refused: 'UNKNOWN_NAME' }
    return typeof op === 'string' ? { begin: () => this.#hit(host, op) } : { refused: 'INVALID_PAYLOAD' }
  }

  fire(): Program {
    throw new Error('it sets no timer')
  }

  *#hit(host: Host, op: string): Program {
    this.n += 1
    this.chain = link(this.chain, 'hit', op)
    const { n } = this
    if (n % 25 === 0) host.send(`ledger.l${n % LEDGERS}`, 'note', { from: op })
    if (n % 40 === 0)
      this.chain = link(this.chain, 'stamp', String(yield { kind: 'call', activity: 'stamp', input: { op, n } }))
    return undefined
  }
}

class AccountModel implements Model {
  balance = 1000
  n = 0
  chain = ''

  view(): object {
    const { balance, n, chain } = this
    return { balance, n, chain }
  }

  react(host: Host, kind: string, name: string, { op, to, amount }: Fields): Reaction {
    if (kind !== 'signal' || (name !== 'transfer' && name !== 'deposit')) return { refused: 'UNKNOWN_NAME' }
    if (typeof op !== 'string' || !Number.isInteger(amount)) return { refused: 'INVALID_PAYLOAD' }
    if (name === 'deposit') return { begin: () => this.#deposit(op, amount as number) }
    if (typeof to !== 'string') return { refused: 'INVALID_PAYLOAD' }
    return { begin: () => this.#transfer(host, op, to, amount as number) }
  }

  fire(): Program {
    throw new Error('it sets no timer')
  }

  *#transfer(host: Host, op: string, to: string, amount: number): Program {
    this.n += 1
    this.balance -= amount
    this.chain = link(this.chain, 'transfer', op)
    host.send(`account.${to}`, 'deposit', { op, amount })
    if (this.n % 4 === 0)
      this.chain = link(
        this.chain,
        'receipt',
        String(yield { kind: 'call', activity: 'receipt', input: { op, amount } }),
      )
    return undefined
  }

  // oxlint-disable-next-line require-yield -- it never waits
  *#deposit(op: string, amount: number): Program {
    this.balance += amount
    this.chain = link(this.chain, 'deposit', op)
    return undefined
  }
}

class SleeperModel implements Model {
  naps = 0
  alarms = 0
  chain = ''

  view(): object {
    const { naps, alarms, chain } = this
    return { naps, alarms, chain }
  }

  react(host: Host, kind: string, name: string, { op, ms }: Fields): Reaction {
    if (kind !== 'signal' || name !== 'nap') return { refused: 'UNKNOWN_NAME' }
    if (typeof op !== 'string' || !Number.isInteger(ms)) return { refused: 'INVALID_PAYLOAD' }
    return { begin: () => this.#nap(host, op, ms as number) }
  }

  // oxlint-disable-next-line require-yield -- it never waits
  *fire(host: Host): Program {
    this.alarms += 1
    this.chain = link(this.chain, 'alarm', String(host.now))
    return undefined
  }

  *#nap(host: Host, op: string, ms: number): Program {
    this.naps += 1
    this.chain = link(this.chain, 'nap', op)
    if (this.naps % 4 === 0) host.cancelTimer()
    if (this.naps % 3 === 0) host.setTimer(2 * ms)
    yield { kind: 'sleep', ms }
    this.chain = link(this.chain, 'woke', String(host.now))
    return undefined
  }
}

class FragileModel implements Model {
  n = 0
  chain = ''

  view(): object {
    const { n, chain } = this
    return { n, chain }
  }

  react(_host: Host, kind: string, name: string, { op }: Fields): Reaction {
    if (kind !== 'signal' || (name !== 'put' && name !== 'bug')) return { refused: 'UNKNOWN_NAME' }
    if (typeof op !== 'string') return { refused: 'INVALID_PAYLOAD' }
    return { begin: () => (name === 'put' ? this.#put(op) : broken()) }
  }

  fire(): Program {
    throw new Error('it sets no timer')
  }

  // oxlint-disable-next-line require-yield -- it never waits
  *#put(op: string): Program {
    this.n += 1
    this.chain = link(this.chain, 'put', op)
    return undefined
  }
}

// oxlint-disable-next-line require-yield -- it throws
function* broken(): Program {
  throw new Bug()
}

function link(chain: string, what: string, value: string): string {
  return createHash('sha256').update(`${chain}\n${what}\n${value}`).digest('hex').slice(0, 24)
}
