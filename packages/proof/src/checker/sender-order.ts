/** Whether the journal holds what one producer sent to one instance in the order in which it was sent. */
import type { Acked, Sent } from '../histories.ts'
import type { Findings } from './findings.ts'

interface Place {
  readonly turn: number
  readonly seq: number
}

/** Acknowledgements come in any order, so each is compared with its neighbours among those that are known. */
const KEPT_PER_INSTANCE = 64

export class SenderOrder {
  readonly #findings: Findings
  readonly #places = new Map<string, Place[]>()

  constructor(findings: Findings) {
    this.#findings = findings
  }

  /** Only first attempts count: what is sent again, after a failure, stands where it arrived. */
  acked(sent: Sent | undefined, { id, seq, again }: Acked): void {
    if (sent?.turn === undefined || sent.key === undefined || again) return
    this.#findings.looked('sender-order')
    const lane = `${id.split('-')[0]} ${sent.key}`
    const places = this.#places.get(lane) ?? []
    this.#places.set(lane, places)
    const place = { turn: sent.turn, seq }
    const wrong = places.find((other) => other.turn < place.turn !== other.seq < place.seq)
    if (wrong !== undefined)
      this.#findings.find(
        'sender-order',
        `of ${lane}, number ${place.turn} is seq ${seq} and number ${wrong.turn} is seq ${wrong.seq}`,
      )
    places.push(place)
    if (places.length > KEPT_PER_INSTANCE) places.shift()
  }
}
