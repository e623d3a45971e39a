/** Folds one instance again under a build, and says what is different: from the cluster, from the journal itself, and from another build. */
import type { Carillon, JournalBounds } from '@carillon/client'
import { hasCode } from '@carillon/runtime'
import type { LogMessage } from '@carillon/runtime/ports'
import type { Description } from '@carillon/runtime/protocol'
import { formatWaits } from '@carillon/runtime/replay'

import { diffStates } from '../cli/state-diff.ts'
import { judgeBeginning } from '../journal-beginning.ts'
import { type BuildLook, type BuildStep } from './build-messages.ts'
import type { BuildProcess } from './build-process.ts'
import { firstDifference } from './compare-builds.ts'
import { type Difference, diffLists } from './difference.ts'

export interface InstanceReport {
  readonly type: string
  readonly id: string
  /** `incomplete`: the journal does not hold its beginning, so nothing was compared. */
  readonly result: 'same' | 'differs' | 'incomplete'
  readonly reason?: string
  readonly inputs: number
  /** Patches that are active, but not in code of this instance that began before and is not over. */
  readonly waitsBefore: readonly string[]
  readonly differences: readonly Difference[]
}

export interface ReplayContext {
  readonly carillon: Carillon
  readonly build: BuildProcess
  readonly against: BuildProcess | undefined
  readonly bounds: JournalBounds
  /** False where no node is to be asked. */
  readonly asksCluster: boolean
}

interface Target {
  readonly type: string
  readonly id: string
  readonly patches: readonly LogMessage[]
}

/** Differences of one instance that are looked for. */
const DIFFERENCES_MAX = 20
const BATCH_MESSAGES = 256
const BATCH_BYTES = 8 * 1024 * 1024

export async function replayInstance(context: ReplayContext, target: Target): Promise<InstanceReport> {
  const { bounds, asksCluster, build, against } = context
  const { type, id } = target
  const { described, untilSeq } = asksCluster ? await ask(context.carillon, type, id) : NOT_ASKED
  const beginning = judgeBeginning(bounds, type, id, described ?? 'there is none')
  if (beginning.kind !== 'whole' && bounds.firstSeq > 1)
    return { type, id, result: 'incomplete', reason: beginning.reason, inputs: 0, waitsBefore: [], differences: [] }
  await build.begin(type, id, false)
  const differences: Difference[] = []
  let inputs = 0
  let isCompared = !asksCluster
  for await (const batch of batchesOf(context, target, untilSeq, described?.seq)) {
    const steps = await build.fold(batch)
    inputs += steps.length
    differences.push(...steps.flatMap((step) => differencesOf(step, described)))
    if (differences.length >= DIFFERENCES_MAX) break
    if (described === undefined || batch.at(-1)?.seq !== described.seq) continue
    isCompared = true
    if (differences.length === 0) differences.push(...(await compareWithCluster(build, described)))
  }
  if (!isCompared && differences.length === 0) differences.push(...missing(await build.look(), described))
  const waitsBefore =
    target.patches.length === 0 ? [] : patchesAfter(context, target, (await build.look()).waitingSince)
  if (against !== undefined) {
    const first = await firstDifference(build, against, type, id, () => batchesOf(context, target, untilSeq, undefined))
    if (first !== undefined) differences.push(first)
  }
  return { type, id, result: differences.length === 0 ? 'same' : 'differs', inputs, waitsBefore, differences }
}

/** Patches that became active behind a place in the journal. The first message of each counts. */
function patchesAfter({ carillon }: ReplayContext, { patches }: Target, seq: number | undefined): readonly string[] {
  if (seq === undefined) return []
  const since = new Map<string, number>()
  for (const message of patches) {
    const patch = carillon.journal.subjects.parsePatch(message.subject)?.patch
    if (patch !== undefined && !since.has(patch)) since.set(patch, message.seq)
  }
  return [...since].filter(([, activeSeq]) => activeSeq >= seq).map(([patch]) => patch)
}

const NOT_ASKED = { described: undefined, untilSeq: Number.POSITIVE_INFINITY }

/** What the cluster has, and up to where it had applied the journal. */
async function ask(
  carillon: Carillon,
  type: string,
  id: string,
): Promise<{ readonly described: Description | undefined; readonly untilSeq: number }> {
  const handle = carillon.workflow(type, id)
  try {
    const described = await handle.describe({ consistency: 'linearizable', state: true })
    return { described, untilSeq: Math.max(handle.lastSeq, described.seq) }
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return { described: undefined, untilSeq: handle.lastSeq }
    throw error
  }
}

/** The inputs in order, in batches of bounded size; one of them ends at `cutSeq`. */
async function* batchesOf(
  { carillon: { journal } }: ReplayContext,
  { type, id, patches }: Target,
  untilSeq: number,
  cutSeq: number | undefined,
): AsyncIterable<readonly LogMessage[]> {
  let batch: LogMessage[] = []
  let bytes = 0
  for await (const message of journal.inputsOf(type, id, patches)) {
    if (message.seq > untilSeq) break
    batch.push(message)
    bytes += message.payload.length
    if (message.seq !== cutSeq && batch.length < BATCH_MESSAGES && bytes < BATCH_BYTES) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

function differencesOf(step: BuildStep, described: Description | undefined): Difference[] {
  const { seq, kind, name, outcome, error, mismatch } = step
  const input = `${kind}${name === '' ? '' : ` ${name}`}`
  const differences: Difference[] = []
  if (outcome === 'suspended' && described?.suspended?.seq !== seq)
    differences.push({ seq, what: `this build is suspended at ${input}: ${error?.code}: ${error?.message}` })
  if (mismatch !== undefined) differences.push({ seq, what: mismatch })
  return differences
}

/** At the place where the cluster's instance stands. */
async function compareWithCluster(build: BuildProcess, described: Description): Promise<Difference[]> {
  const { seq, state, stateVersion } = described
  const look = await build.look()
  if (stateVersion > look.version)
    return [
      {
        seq,
        what: `the cluster has a state of version ${stateVersion}, this build knows ${look.version}: it would suspend the instance`,
      },
    ]
  const isSameVersion = stateVersion === look.version
  if (isSameVersion && look.digest === described.digest) return []
  const compared = state === undefined ? undefined : await build.compare(state.value, stateVersion)
  if (compared !== undefined && !compared.isEqual) {
    if ('misfit' in compared) return [{ seq, what: String(compared.misfit) }]
    const what = `this build comes to another state than the cluster has${isSameVersion ? '' : `, migrated from version ${stateVersion}`}`
    return [{ seq, what, changes: diffStates(compared.migrated, look.state) }]
  }
  // A pause, also of a whole type, is no matter of the build.
  const isRunning = described.suspended === undefined && described.status !== 'paused' && look.status !== 'paused'
  if (look.status !== described.status && isRunning)
    return [{ seq, what: `this build comes to the status ${look.status}, the cluster has ${described.status}` }]
  const waits = diffLists(formatWaits(described), look.waits)
  if (waits !== undefined)
    return [{ seq, what: 'this build waits for other things than the cluster does', effects: waits }]
  if (!isSameVersion) return []
  const what =
    compared === undefined
      ? 'this build comes to another digest than the cluster has (the state is too large to be shown)'
      : 'this build comes to the same state, but to another digest: its mailbox, known ids, children or attributes differ'
  return [{ seq, what }]
}

function missing(look: BuildLook, described: Description | undefined): Difference[] {
  if (described !== undefined)
    return [
      { seq: described.seq, what: `the cluster stands at seq ${described.seq}, of which the journal holds no input` },
    ]
  if (look.status === 'absent' || look.status === 'suspended') return []
  return [{ seq: look.seq, what: `the cluster has no such instance; under this build it is ${look.status}` }]
}
