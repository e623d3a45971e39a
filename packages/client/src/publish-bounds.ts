/** How much waits for acknowledgements, and who waits for that to become less. */

export interface PublishBounds {
  /** Messages that may wait, sent or not. */
  readonly messagesMax: number
  /** Their bytes. */
  readonly bytesMax: number
}

/**
 * Above this part of a bound a paced sender waits, and it goes on below the other: so that it neither stops nor starts
 * per message.
 */
const HIGH_WATER = 0.5
const LOW_WATER = 0.25

/** Counts what is pending, and tells a paced sender when there is room. */
export class PendingBounds {
  readonly #bounds: PublishBounds
  #messages = 0
  #bytes = 0
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined
  #idle: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined

  constructor(bounds: PublishBounds) {
    this.#bounds = bounds
  }

  get messages(): number {
    return this.#messages
  }

  get bytes(): number {
    return this.#bytes
  }

  fits(bytes: number): boolean {
    return this.#messages < this.#bounds.messagesMax && this.#bytes + bytes <= this.#bounds.bytesMax
  }

  add(bytes: number): void {
    this.#messages += 1
    this.#bytes += bytes
  }

  remove(messages: number, bytes: number): void {
    this.#messages -= messages
    this.#bytes -= bytes
    if (this.#room !== undefined && !this.#isAbove(LOW_WATER)) this.#release()
    if (this.#messages === 0) this.#idle?.resolve()
  }

  /** Undefined when there is room, else a promise of it. */
  ready(): Promise<void> | undefined {
    if (this.#room !== undefined) return this.#room.promise
    if (!this.#isAbove(HIGH_WATER)) return undefined
    this.#room = latch()
    return this.#room.promise
  }

  /** Resolves when nothing is pending. */
  idle(): Promise<void> {
    if (this.#messages === 0) return Promise.resolve()
    this.#idle ??= latch()
    return this.#idle.promise
  }

  #isAbove(part: number): boolean {
    return this.#messages > this.#bounds.messagesMax * part || this.#bytes > this.#bounds.bytesMax * part
  }

  #release(): void {
    const room = this.#room
    this.#room = undefined
    room?.resolve()
  }
}

function latch(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve: () => resolve() }
}
