/**
 * Makes the recorded feed: `node --import tsx src/loyalty/generate-feed.ts > loyalty/feed.ndjson`. One seed gives one feed, to the byte.
 *
 * It is made like the export of a till system: few customers buy a lot, most buy little; some bring things back; some pay with points, and now
 * and then with more than they have; and about 4 % of the lines come more than once, because exports are retried.
 */
const SEED = 20_250_103
const CUSTOMERS = 500
const EVENTS = 5_600
const FIRST_MS = Date.UTC(2025, 0, 3, 8)
const MEAN_GAP_MS = 23 * 60_000

interface Recorded {
  readonly orderId: string
  readonly customer: string
  readonly type: 'purchase' | 'return' | 'redeem'
  readonly amountCents?: number
  readonly points?: number
  readonly store: string
  readonly at: string
}

const random = seededRandom(SEED)
process.stdout.write(`${withRepeats(recordEvents()).join('\n')}\n`)

function recordEvents(): readonly Recorded[] {
  const bought = new Map<string, number[]>()
  const events: Recorded[] = []
  let atMs = FIRST_MS
  for (const customer of visits()) {
    atMs += Math.ceil(-Math.log(1 - random()) * MEAN_GAP_MS)
    const orderId = `A${100_000 + events.length}`
    const amounts = bought.get(customer) ?? []
    bought.set(customer, amounts)
    const store = `store-${1 + below(12)}`
    events.push({ orderId, customer, ...chooseWhat(amounts), store, at: new Date(atMs).toISOString() })
  }
  return events
}

/** The customer of each event: every one once, the others by Zipf's law. */
function visits(): readonly string[] {
  const names = Array.from({ length: CUSTOMERS }, (_, i) => `customer-${String(i + 1).padStart(3, '0')}`)
  const ranked = shuffled(names)
  const sums: number[] = []
  for (const rank of ranked.keys()) sums.push((sums.at(-1) ?? 0) + 1 / (rank + 8) ** 0.85)
  const pick = (): string => {
    const target = random() * (sums.at(-1) ?? 0)
    return ranked[sums.findIndex((sum) => sum > target)] ?? names[0] ?? ''
  }
  return shuffled([...names, ...Array.from({ length: EVENTS - CUSTOMERS }, pick)])
}

function chooseWhat(amounts: number[]): Pick<Recorded, 'type' | 'amountCents' | 'points'> {
  const dice = random()
  const returned = dice < 0.03 ? amounts.splice(below(amounts.length), 1)[0] : undefined
  if (returned !== undefined) return { type: 'return', amountCents: returned }
  if (dice > 0.95 && amounts.length > 0) return { type: 'redeem', points: [20, 50, 100, 200][below(4)] ?? 20 }
  const amountCents = Math.min(90_000, Math.round(Math.exp(3.2 + 0.9 * normal()) * 100))
  amounts.push(amountCents)
  return { type: 'purchase', amountCents }
}

/** Each line, and some of them again: at once, soon, or far behind; as they were, spaced otherwise, or in another order of fields. */
function withRepeats(events: readonly Recorded[]): readonly string[] {
  const repeats = new Map<number, string[]>()
  const lines: string[] = []
  events.forEach((event, i) => {
    lines.push(JSON.stringify(event), ...(repeats.get(i) ?? []))
    if (random() > 0.045) return
    const distance = [0, 5 + below(60), 400 + below(4000)][below(3)] ?? 0
    if (distance === 0) return void lines.push(again(event))
    const at = i + distance
    repeats.set(at, [...(repeats.get(at) ?? []), again(event)])
  })
  return lines
}

function again(event: Recorded): string {
  const style = below(3)
  if (style === 0) return JSON.stringify(event)
  if (style === 1) return JSON.stringify(event, undefined, 1).replaceAll('\n', ' ')
  return JSON.stringify(Object.fromEntries(Object.entries(event).reverse()))
}

function shuffled(items: readonly string[]): readonly string[] {
  const keyed = items.map((item) => ({ item, key: random() }))
  return keyed.toSorted((a, b) => a.key - b.key).map(({ item }) => item)
}

function normal(): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

function below(end: number): number {
  return Math.floor(random() * end)
}

/** SplitMix32. */
function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}
