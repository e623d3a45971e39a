/** What producers send: the mix of the workloads, and inputs that are meant to be refused. */
import type { Dice } from '../reference/random.ts'
import { LEDGERS } from '../workloads/contracts.ts'

export interface Made {
  readonly id: string
  /** `<type>.<id>`. */
  readonly key: string
  readonly kind: 'signal' | 'update'
  readonly name: string
  readonly payload: unknown
  /** Goes by a plain publish, as these bytes. */
  readonly raw?: { readonly bytes: Uint8Array; readonly encoding?: string }
  /** Behind `<namespace>.log.`, where the subject is to be none of an input. */
  readonly subject?: string
  readonly isPoison: boolean
}

const ACCOUNTS = 50
const SLEEPERS = 30
const FRAGILE = 5
const HOT_SHARE = 0.5
const LONG_NAP_SHARE = 0.05

/** One input for each instance there is. */
export function everyInstance(): ((id: string) => Made)[] {
  const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
  return [
    (id) => signal(id, 'hot.h0', 'hit', { op: id }),
    ...range(LEDGERS).map((i) => (id: string) => signal(id, `ledger.l${i}`, 'put', { op: id })),
    ...range(ACCOUNTS).map((i) => (id: string) => signal(id, `account.a${i}`, 'deposit', { op: id, amount: 0 })),
    ...range(SLEEPERS).map((i) => (id: string) => signal(id, `sleeper.s${i}`, 'nap', { op: id, ms: 50 })),
    ...range(FRAGILE).map((i) => (id: string) => signal(id, `fragile.f${i}`, 'put', { op: id })),
  ]
}

/** Every instance there is. */
export const EVERY_KEY: readonly string[] = everyInstance().map((make) => make('').key)

export function makeOp(id: string, dice: Dice): Made {
  if (dice.chance(HOT_SHARE)) return signal(id, 'hot.h0', 'hit', { op: id })
  const roll = dice.roll()
  if (roll < 0.55) return signal(id, ledger(dice), 'put', { op: id })
  if (roll < 0.63)
    return {
      id,
      key: ledger(dice),
      kind: 'update',
      name: 'take',
      payload: { op: id, amount: dice.between(1, 9) },
      isPoison: false,
    }
  if (roll < 0.87) {
    const [from, to] = [dice.between(0, ACCOUNTS - 1), dice.between(0, ACCOUNTS - 1)]
    return signal(id, `account.a${from}`, 'transfer', { op: id, to: `a${to}`, amount: dice.between(1, 100) })
  }
  if (roll < 0.95) {
    const ms = dice.chance(LONG_NAP_SHARE) ? dice.between(2000, 12_000) : dice.between(20, 700)
    return signal(id, `sleeper.s${dice.between(0, SLEEPERS - 1)}`, 'nap', { op: id, ms })
  }
  return signal(id, `fragile.f${dice.between(0, FRAGILE - 1)}`, 'put', { op: id })
}

export function makePoison(id: string, dice: Dice): Made {
  const base = { id, key: ledger(dice), kind: 'signal', name: 'put', payload: undefined, isPoison: true } as const
  const text = (value: string): Uint8Array => new TextEncoder().encode(value)
  switch (dice.between(0, 7)) {
    case 0:
      return { ...base, name: 'nonesuch', payload: { op: id }, raw: { bytes: text(`{"op":"${id}"}`) } }
    case 1:
      return { ...base, raw: { bytes: text(`{"wrong":"${id}"}`) } }
    case 2:
      return { ...base, raw: { bytes: Uint8Array.from([0xc1, 0xff, dice.between(0, 255)]), encoding: 'msgpack' } }
    case 3:
      return { ...base, raw: { bytes: text(`{"op":"${id}`) } }
    case 4:
      return { ...base, raw: { bytes: text(`{"op":"${id}"}`), encoding: 'xml' } }
    case 5:
      return { ...base, key: `nosuch.x${dice.between(0, 3)}`, raw: { bytes: text(`{"op":"${id}"}`) } }
    case 6:
      return {
        ...base,
        subject: dice.pick(['0.ledger.l1.nokind.put', 'x.ledger.l1.signal.put', '1.lone']),
        raw: { bytes: text('{}') },
      }
    default:
      return { ...base, key: `fragile.f${dice.between(0, FRAGILE - 1)}`, name: 'bug', payload: { op: id } }
  }
}

function signal(id: string, key: string, name: string, payload: object): Made {
  return { id, key, kind: 'signal', name, payload, isPoison: false }
}

function ledger(dice: Dice): string {
  return `ledger.l${dice.between(0, LEDGERS - 1)}`
}
