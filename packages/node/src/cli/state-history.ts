/** `carillon history --state`: folds an instance again from the journal, and prints its state after every input. */
import type { Carillon } from '@carillon/client'
import { CarillonError, type Implementation, type Interceptors } from '@carillon/runtime'
import { encodeToken } from '@carillon/runtime/protocol'
import { Refold, type RefoldStep } from '@carillon/runtime/replay'

import { beginningOf } from '../journal-beginning.ts'
import { loadWorkflows } from '../load-workflows.ts'
import { toCodecs } from './connection-options.ts'
import { formatEffect } from './effect-text.ts'
import { note, oneLine, print, printJson, toJson } from './output.ts'
import { diffStates, formatChange, type StateChange } from './state-diff.ts'

export interface StateHistoryFlags {
  readonly workflows?: readonly string[]
  /** Only the state as of this sequence. */
  readonly at?: number
  readonly from?: number
  readonly limit?: number
  readonly json?: boolean
  readonly codecs?: string
}

interface Shown extends RefoldStep {
  readonly status: string
  readonly state: unknown
  readonly changes: readonly StateChange[]
  readonly digest: string | undefined
}

/**
 * Prints the states. The fold begins with the first input whatever is printed of it.
 *
 * @throws CONFIG_INVALID without a workflow file of the type. @throws JOURNAL_BEHIND when the journal does not hold the beginning of the instance.
 * @throws NOT_FOUND when it holds no input up to `at`.
 */
export async function printStates(
  carillon: Carillon,
  type: string,
  id: string,
  flags: StateHistoryFlags,
): Promise<void> {
  const { implementation, interceptors } = await loadType(type, flags.workflows)
  const { journal } = carillon
  const partition = journal.subjects.partitionOf(encodeToken(type), encodeToken(id))
  const beginning = await beginningOf(carillon, await journal.bounds(), type, id)
  if (beginning.kind === 'trimmed')
    throw new CarillonError('JOURNAL_BEHIND', `${beginning.reason}: its states cannot be computed from what is left`)
  if (beginning.kind === 'unknown') note(`these states may be wrong: ${beginning.reason}`)
  const fold = new Refold({
    subjects: journal.subjects,
    implementation,
    id,
    taskSecret: carillon.cluster.clusterId,
    codecs: await toCodecs(flags),
    interceptors,
  })
  let before: unknown
  let last: Shown | undefined
  let printed = 0
  for await (const message of journal.inputsOf(type, id, await journal.patchesOf(type, partition))) {
    if (flags.at !== undefined && message.seq > flags.at) break
    const step = await fold.apply(message)
    if (step === undefined) continue
    const isSilent = flags.at !== undefined || step.seq < (flags.from ?? 0)
    const state = fold.state()
    last = { ...step, status: fold.status, state, changes: diffStates(before, state), digest: fold.digest() }
    before = state
    if (isSilent) continue
    printShown(last, flags)
    if (++printed === flags.limit) return
  }
  if (last === undefined)
    throw new CarillonError(
      'NOT_FOUND',
      `the journal holds no input of ${type}/${id}${flags.at === undefined ? '' : ` up to seq ${flags.at}`}`,
    )
  if (flags.at !== undefined) printShown(last, flags)
}

async function loadType(
  type: string,
  files: readonly string[] | undefined,
): Promise<{ readonly implementation: Implementation; readonly interceptors: Interceptors | undefined }> {
  if (files === undefined)
    throw new CarillonError('CONFIG_INVALID', 'states are computed by the workflow’s code: add --workflows FILE')
  const { implementations, interceptors } = await loadWorkflows(files)
  const found = implementations.find(({ contract }) => contract.name === type)
  if (found !== undefined) return { implementation: found, interceptors }
  const names = implementations.map(({ contract }) => contract.name).join(', ')
  throw new CarillonError('CONFIG_INVALID', `${files.join(', ')} implements no type ${type}, but ${names}`)
}

function printShown(shown: Shown, { json, at }: StateHistoryFlags): void {
  if (json === true) {
    const { timeMs, ...rest } = shown
    return printJson({ ...rest, time: new Date(timeMs) })
  }
  print(formatHead(shown))
  for (const change of shown.changes) print(`  ${oneLine(formatChange(change))}`)
  for (const effect of shown.effects) print(`  > ${oneLine(formatEffect(effect))}`)
  if (at === undefined) print(`  = ${oneLine(toJson(shown.state))}`)
  else print(toJson(shown.state, 2))
}

function formatHead({ seq, timeMs, kind, name, inputId, outcome, error, status }: Shown): string {
  const input = `${kind}${name === '' ? '' : ` ${name}`}${inputId === undefined ? '' : ` (${inputId})`}`
  const why = error === undefined ? '' : `: ${error.code}: ${error.message}`
  return oneLine(`seq ${seq}  ${new Date(timeMs).toISOString()}  ${input}  ${outcome}${why}  [${status}]`)
}
