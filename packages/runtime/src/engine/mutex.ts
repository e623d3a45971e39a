/** One at a time, in the order of the calls. */
export class Mutex {
  readonly #pause: () => Promise<void>
  #last: Promise<unknown> = Promise.resolve()

  /** @param pause runs before each task. */
  constructor(pause: () => Promise<void> = () => Promise.resolve()) {
    this.#pause = pause
  }

  /** Runs `task` when every earlier one has ended; gives its result or error. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(this.#pause).then(task)
    this.#last = result.catch(() => {})
    return result
  }
}
