/** Which faults come in which round: every seed has its own order, and every fault its turn. */
import type { Dice } from '../reference/random.ts'
import { type Fault, FAULTS } from './faults.ts'

/** Deals the faults that fit, shuffled, again and again. */
export class Deck {
  readonly #dice: Dice
  readonly #faults: readonly Fault[]
  #left: Fault[] = []

  /** @param names the only ones to deal; all without any. @throws when one is not known. */
  constructor(dice: Dice, names: readonly string[]) {
    const unknown = names.find((name) => !FAULTS.some((fault) => fault.name === name))
    if (unknown !== undefined)
      throw new Error(`there is no fault ${unknown}; there are: ${FAULTS.map(({ name }) => name).join(', ')}`)
    this.#dice = dice
    this.#faults = names.length === 0 ? FAULTS : FAULTS.filter(({ name }) => names.includes(name))
  }

  /** The next one that fits. */
  deal(fits: (fault: Fault) => boolean): Fault {
    for (let shuffles = 0; shuffles < 2; shuffles++) {
      const at = this.#left.findIndex(fits)
      const [found] = at === -1 ? [] : this.#left.splice(at, 1)
      if (found !== undefined) return found
      this.#left.push(...this.#dice.shuffle(this.#faults.filter((fault) => !this.#left.includes(fault))))
    }
    throw new Error('none of the faults fits this cluster: choose others, or another number of servers')
  }
}
