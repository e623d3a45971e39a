/**
 * Bugs to plant in a node, so that the fault run can show that it finds them. Each one changes an adapter of the node process from the outside; what
 * is shipped has no switch for them.
 */
import { setTimeout as delay } from 'node:timers/promises'

import { JetStreamLog, JetStreamStoredJournal, LmdbStore } from '@carillon/node'
import { Engine, type HostedPartition } from '@carillon/runtime/engine'
import type { LogMessage, ReadOptions, Write } from '@carillon/runtime/ports'
import { decodeValue, encodeValue, type Partition } from '@carillon/runtime/protocol'

export const PLANTED_BUGS = [
  'standby-not-muted',
  'position-before-state',
  'resume-off-by-one',
  'trim-too-early',
  'dedupe-by-the-server-only',
] as const
export type PlantedBug = (typeof PLANTED_BUGS)[number]

/** Nothing unless CARILLON_PLANTED_BUG names one. */
export function plantFromEnvironment(): void {
  const bug = process.env['CARILLON_PLANTED_BUG']
  if (bug === undefined || bug === '') return
  if (!(PLANTED_BUGS as readonly string[]).includes(bug))
    throw new Error(`CARILLON_PLANTED_BUG is ${bug}: use one of ${PLANTED_BUGS.join(', ')}`)
  plant(bug as PlantedBug)
}

/** Inputs that are left of the journal, whatever the snapshots cover. */
const LEFT = 40

function plant(bug: PlantedBug): void {
  switch (bug) {
    case 'standby-not-muted':
      return unmuteStandbys()
    case 'trim-too-early':
      return changeTrim((firstSeq, lastSeq) => Math.max(firstSeq, lastSeq - LEFT))
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

/** What is followed goes live at once, and says that it stands by. */
function unmuteStandbys(): void {
  const follow = Reflect.get(Engine.prototype, 'follow')
  const promote = Reflect.get(Engine.prototype, 'promote')
  const hosted = Reflect.get(Engine.prototype, 'hosted')
  const owned = new WeakMap<Engine, Set<Partition>>()
  Engine.prototype.follow = async function changed(this: Engine, partition) {
    await follow.call(this, partition)
    promote.call(this, partition).catch(() => undefined)
  }
  Engine.prototype.promote = function changed(this: Engine, partition) {
    owned.set(this, (owned.get(this) ?? new Set<Partition>()).add(partition))
    return promote.call(this, partition)
  }
  Engine.prototype.demote = async function changed(this: Engine, partition) {
    owned.get(this)?.delete(partition)
  }
  Engine.prototype.hosted = function changed(this: Engine) {
    const mine = owned.get(this)
    const says = (one: HostedPartition): HostedPartition => ({ ...one, role: 'standby' })
    return hosted.call(this).map((one) => (mine?.has(one.partition) === true ? one : says(one)))
  }
}

function changeTrim(change: (firstSeq: number, lastSeq: number) => number): void {
  const trim = Reflect.get(JetStreamStoredJournal.prototype, 'trim')
  JetStreamStoredJournal.prototype.trim = async function changed(this: JetStreamStoredJournal, firstSeq) {
    return trim.call(this, change(firstSeq, (await this.state()).lastSeq))
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
