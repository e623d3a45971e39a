/** The first input at which two builds go different ways. */
import type { LogMessage } from '@carillon/runtime/ports'

import { diffStates } from '../cli/state-diff.ts'
import type { BuildStep } from './build-messages.ts'
import type { BuildProcess } from './build-process.ts'
import { type Difference, diffEffects } from './difference.ts'

/**
 * Folds the inputs under both builds, side by side.
 *
 * States are compared after every input where both builds have one version of it; otherwise at the end, by `migrate` of the newer one.
 */
export async function firstDifference(
  build: BuildProcess,
  against: BuildProcess,
  type: string,
  id: string,
  read: () => AsyncIterable<readonly LogMessage[]>,
): Promise<Difference | undefined> {
  const old = against.types.find(({ name }) => name === type)
  const own = build.types.find(({ name }) => name === type)
  if (old === undefined) return { seq: 0, what: 'the other build does not implement this type' }
  const isSameVersion = old.version === own?.version
  await Promise.all([build.begin(type, id, isSameVersion), against.begin(type, id, isSameVersion)])
  for await (const batch of read()) {
    const [steps, before] = await Promise.all([build.fold(batch), against.fold(batch)])
    const at = steps.findIndex((step, i) => !isSame(step, before[i]))
    const [step, other] = [steps[at], before[at]]
    if (step !== undefined && other !== undefined) return describeAt(build, against, type, id, read, step, other)
  }
  return isSameVersion ? undefined : compareAtEnd(build, against)
}

function isSame(step: BuildStep, other: BuildStep | undefined): boolean {
  return (
    other !== undefined &&
    step.outcome === other.outcome &&
    step.stateHash === other.stateHash &&
    diffEffects(other, step) === undefined
  )
}

/** Goes there again, for the states as of that input. */
async function describeAt(
  build: BuildProcess,
  against: BuildProcess,
  type: string,
  id: string,
  read: () => AsyncIterable<readonly LogMessage[]>,
  step: BuildStep,
  other: BuildStep,
): Promise<Difference> {
  const { seq, kind, name } = step
  await Promise.all([build.begin(type, id, false), against.begin(type, id, false)])
  for await (const batch of read()) {
    const part = batch.filter((message) => message.seq <= seq)
    await Promise.all([build.fold(part), against.fold(part)])
    if (part.length < batch.length || part.at(-1)?.seq === seq) break
  }
  const [now, before] = await Promise.all([build.look(), against.look()])
  const effects = diffEffects(other, step)
  const outcome =
    step.outcome === other.outcome
      ? ''
      : `: ${step.outcome}${step.error === undefined ? '' : ` (${step.error.message})`}, not ${other.outcome}`
  const isSameVersion = now.version === before.version
  return {
    seq,
    what: `from here on this build goes another way than the other one, at ${kind}${name === '' ? '' : ` ${name}`}${outcome}`,
    ...(isSameVersion ? { changes: diffStates(before.state, now.state) } : {}),
    ...(effects === undefined ? {} : { effects }),
  }
}

async function compareAtEnd(build: BuildProcess, against: BuildProcess): Promise<Difference | undefined> {
  const [now, before] = await Promise.all([build.look(), against.look()])
  if (now.status === 'absent' && before.status === 'absent') return undefined
  const { seq } = now
  const compared = await build.compare(before.state, before.version)
  if (compared.isEqual) return undefined
  if ('misfit' in compared) return { seq, what: String(compared.misfit) }
  const what = `this build comes to another state than its migrate makes of the other one's, from version ${before.version}`
  return { seq, what, changes: diffStates(compared.migrated, now.state) }
}
