/**
 * Bugs to plant in a node, so that the kill test can show that it finds them. Each one changes an adapter of the node process; the engine
 * is as it is.
 */
import { setTimeout as delay } from 'node:timers/promises'

import { JetStreamLog, LmdbStore } from '@carillon/node'
import type { LogMessage, ReadOptions, Write } from '@carillon/runtime/ports'

export const PLANTED_BUGS = [
  'position-before-state',
  'effects-outside-the-batch',
  'timers-outside-the-batch',
  'known-ids-dropped',
  'dedupe-by-the-server-only',
  'resume-off-by-one',
  'host-clock-in-turns',
] as const
export type PlantedBug = (typeof PLANTED_BUGS)[number]

export function plant(bug: PlantedBug): void {
  switch (bug) {
    case 'position-before-state':
      return changeCommit(async (writes, commit) => {
        await commit(writes.filter(({ table }) => table === 'meta'))
        await delay(200)
        await commit(writes.filter(({ table }) => table !== 'meta'))
      })
    case 'effects-outside-the-batch':
      return changeCommit((writes, commit) =>
        commit(writes.filter(({ table, value }) => table !== 'effect' || value === undefined)),
      )
    case 'timers-outside-the-batch':
      return changeCommit((writes, commit) =>
        commit(writes.filter(({ table, value }) => table !== 'timer' || value === undefined)),
      )
    case 'known-ids-dropped':
      return changeCommit((writes, commit) =>
        commit(
          writes.map((write) =>
            write.table === 'ids' && write.value !== undefined ? { ...write, value: otherIds(write.value) } : write,
          ),
        ),
      )
    case 'dedupe-by-the-server-only':
      return changeRead((options) =>
        withMessages(options, (message) => ({
          ...fieldsOf(message),
          header: (name) => (name.endsWith('-Id') ? undefined : message.header(name)),
        })),
      )
    case 'resume-off-by-one':
      return changeRead((options) => ({ ...options, fromSeq: options.fromSeq === 1 ? 1 : options.fromSeq + 1 }))
    case 'host-clock-in-turns':
      return changeRead((options) =>
        withMessages(options, (message) => ({
          ...fieldsOf(message),
          timeMs: Date.now(),
          header: (name) => message.header(name),
        })),
      )
  }
}

function changeCommit(
  change: (writes: readonly Write[], commit: (writes: readonly Write[]) => Promise<void>) => Promise<void>,
): void {
  const original = Reflect.get(LmdbStore.prototype, 'commit')
  LmdbStore.prototype.commit = function changed(this: LmdbStore, writes) {
    return change(writes, (some) => original.call(this, some))
  }
}

function changeRead(change: (options: ReadOptions) => ReadOptions): void {
  const original = Reflect.get(JetStreamLog.prototype, 'read')
  JetStreamLog.prototype.read = function changed(this: JetStreamLog, options) {
    return original.call(this, change(options))
  }
}

function withMessages(options: ReadOptions, change: (message: LogMessage) => LogMessage): ReadOptions {
  return { ...options, onMessages: (messages, throughSeq) => options.onMessages(messages.map(change), throughSeq) }
}

function fieldsOf({ subject, seq, timeMs, payload }: LogMessage): Omit<LogMessage, 'header'> {
  return { subject, seq, timeMs, payload }
}

/** A block of as many ids that nobody sends. */
function otherIds(block: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(block).toString('latin1').replaceAll('op-', 'no-'), 'latin1')
}
