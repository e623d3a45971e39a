/** A child process that does what the supervisor says, one command at a time, and ends with it. */

export interface Command {
  readonly name: string
  readonly value?: unknown
}

export type Answer = { readonly ok: true; readonly value?: unknown } | { readonly ok: false; readonly error: string }

export function serveCommands(handle: (command: Command) => Promise<unknown>): void {
  process.on('message', (command: Command) => {
    handle(command).then(
      (value) => process.send?.({ ok: true, value } satisfies Answer),
      (error: unknown) =>
        process.send?.({
          ok: false,
          error: error instanceof Error ? (error.stack ?? error.message) : String(error),
        } satisfies Answer),
    )
  })
  process.on('disconnect', () => process.exit(0))
}
