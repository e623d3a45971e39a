/**
 * Looks at the size of a state while code waits in its instance: such a state is not written, so nobody else would see it grow.
 *
 * A look encodes the state, so its cost grows with it; the larger the state was, the more turns go by until the next look, which keeps the cost of a
 * turn about constant.
 */
import { INSTANCE_LIMITS } from '../core/index.ts'
import { CarillonError, codeOf } from '../errors.ts'
import { encodeValue } from '../protocol/index.ts'

/** Turns between two looks at least, and bytes of the state for each further turn. */
const TURNS_MIN = 64
const BYTES_PER_TURN = 1024

export class StateGauge {
  #turns: number
  /** As of the last look. */
  #bytes = 0

  /** @param turns those since anybody looked. */
  constructor(turns = 0) {
    this.#turns = turns
  }

  /** As of the last look. */
  get bytes(): number {
    return this.#bytes
  }

  /** Counts turns. True when it is time to look. */
  isDue(turns: number): boolean {
    this.#turns += turns
    return this.#turns >= Math.max(TURNS_MIN, this.#bytes / BYTES_PER_TURN)
  }

  /**
   * Measures the state. One that cannot be encoded may be just for now, so that only its size is looked at where it has one.
   *
   * @throws INVALID_STATE when it is too large.
   */
  look(state: unknown): void {
    this.#turns = 0
    this.#bytes = sizeOf(state) ?? this.#bytes
    if (this.#bytes <= INSTANCE_LIMITS.stateBytes) return
    throw new CarillonError(
      'INVALID_STATE',
      `the state has ${this.#bytes} bytes while code waits, over ${INSTANCE_LIMITS.stateBytes}: keep less in one instance, or more instances`,
    )
  }
}

function sizeOf(state: unknown): number | undefined {
  if (state === undefined) return 0
  try {
    return encodeValue(state).length
  } catch (error) {
    // What is no refusal of ours is a buffer that cannot be had.
    return codeOf(error) === undefined ? Infinity : undefined
  }
}
