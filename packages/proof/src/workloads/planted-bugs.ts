/**
 * Bugs to plant in a node, so that the fault run can show that it finds them. Each one changes an adapter of the node process from the outside; what
 * is shipped has no switch for them.
 */
import { setTimeout as delay } from 'node:timers/promises'

import { JetStreamLog, LmdbStore } from '@carillon/node'
import type { LogMessage, ReadOptions, Write } from '@carillon/runtime/ports'
import { decodeValue, encodeValue } from '@carillon/runtime/protocol'

export const PLANTED_BUGS = ['position-before-state', 'resume-off-by-one', 'dedupe-by-the-server-only'] as const
export type PlantedBug = (typeof PLANTED_BUGS)[number]

/** Nothing unless CARILLON_PLANTED_BUG names one. */
export function plantFromEnvironment(): void {
  const bug = process.env['CARILLON_PLANTED_BUG']
  if (bug === undefined || bug === '') return
  if (!(PLANTED_BUGS as readonly string[]).includes(bug))
    throw new Error(`CARILLON_PLANTED_BUG is ${bug}: use one of ${PLANTED_BUGS.join(', ')}`)
  plant(bug as PlantedBug)
}

function plant(bug: PlantedBug): void {
  switch (bug) {
    case 'position-before-state':
      return changeCommit(async (writes, commit) => {
        await commit(writes.filter(({ table }) => table === 'meta'))
        await delay(150)
        await commit(writes.filter(({ table }) => table !== 'meta'))
      })
    case 'resume-off-by-one':
      return changePositions((position) => position + 1)
    case 'dedupe-by-the-server-only':
      return changeRead((options) => ({
        ...options,
        onMessages: (messages, throughSeq) => options.onMessages(messages.map(withoutId), throughSeq),
      }))
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

/** What a node finds in its store of how far it has come. */
function changePositions(change: (position: number) => number): void {
  const original = Reflect.get(LmdbStore.prototype, 'get')
  LmdbStore.prototype.get = function changed(this: LmdbStore, table, key) {
    const value = original.call(this, table, key)
    if (value === undefined || table !== 'meta' || !key.startsWith('position/')) return value
    return encodeValue(change(decodeValue(value) as number))
  }
}

function changeRead(change: (options: ReadOptions) => ReadOptions): void {
  const original = Reflect.get(JetStreamLog.prototype, 'read')
  JetStreamLog.prototype.read = function changed(this: JetStreamLog, options) {
    return original.call(this, change(options))
  }
}

function withoutId(message: LogMessage): LogMessage {
  const { subject, seq, timeMs, payload } = message
  return { subject, seq, timeMs, payload, header: (name) => (name.endsWith('-Id') ? undefined : message.header(name)) }
}
