/**
 * A program: one build of workflows in a process of its own, so that two builds of the same modules do not meet in one module cache, and code that never
 * returns can be ended. Started by build-process.ts.
 */
import { createHash } from 'node:crypto'

import { CarillonError, type ErrorData, type Implementation, toErrorData } from '@carillon/runtime'
import { emptyData, Instance, migrateState } from '@carillon/runtime/core'
import type { LogMessage } from '@carillon/runtime/ports'
import {
  type ClusterRecord,
  decodeEncoded,
  encodeCanonical,
  encodeToken,
  HEADERS,
  isPayloadEncoding,
  type PayloadCodecs,
  placeOfInput,
  Subjects,
} from '@carillon/runtime/protocol'
import { Refold, type RefoldStep } from '@carillon/runtime/replay'

import { loadCodecs } from '../load-codecs.ts'
import { loadWorkflows } from '../load-workflows.ts'
import type { Workflows } from '../node.ts'
import { AskedEffects } from './asked-effects.ts'
import type { BuildComparison, BuildLook, BuildStep, BuildType, PlainMessage } from './build-messages.ts'

export type BuildRequest =
  | {
      readonly op: 'load'
      readonly files: readonly string[]
      readonly cluster: ClusterRecord
      /** The file of the codecs; undefined for none. */
      readonly codecs: string | undefined
    }
  /** Begins with an instance; the one before it is forgotten. */
  | { readonly op: 'begin'; readonly type: string; readonly id: string; readonly hashesStates: boolean }
  | { readonly op: 'fold'; readonly messages: readonly PlainMessage[] }
  | { readonly op: 'look' }
  /** Brings a state that a cluster has to this build's version, and compares it with the one that was folded. */
  | { readonly op: 'compare'; readonly state: unknown; readonly version: number }

export type BuildResponse =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: ErrorData }

interface Folding {
  readonly implementation: Implementation
  readonly fold: Refold
  readonly asked: AskedEffects
  readonly hashesStates: boolean
}

let subjects = new Subjects('none', 1)
let workflows: Workflows = { implementations: [], activities: [] }
let codecs: PayloadCodecs | undefined
let taskSecret = ''
let folding: Folding | undefined

process.on('message', (request: BuildRequest) => {
  answer(request).then(
    (value) => respond({ ok: true, value }),
    (error: unknown) => respond({ ok: false, error: toErrorData(error, 'INVALID_DEFINITION') }),
  )
})
process.on('disconnect', () => process.exit())

async function answer(request: BuildRequest): Promise<unknown> {
  switch (request.op) {
    case 'load':
      return load(request)
    case 'begin':
      return begin(request)
    case 'fold':
      return fold(request.messages)
    case 'look':
      return look()
    case 'compare':
      return compare(request.state, request.version)
  }
}

async function load({
  files,
  cluster,
  codecs: codecsFile,
}: BuildRequest & { readonly op: 'load' }): Promise<readonly BuildType[]> {
  subjects = new Subjects(cluster.namespace, cluster.partitions)
  taskSecret = cluster.clusterId
  codecs = codecsFile === undefined ? undefined : await loadCodecs(codecsFile)
  workflows = await loadWorkflows(files)
  return workflows.implementations.map(({ contract, version, patches }) => ({
    name: contract.name,
    version,
    patches: [...(patches ?? [])],
  }))
}

function begin({ type, id, hashesStates }: BuildRequest & { readonly op: 'begin' }): void {
  const { implementations, interceptors } = workflows
  const implementation = implementations.find(({ contract }) => contract.name === type)
  if (implementation === undefined)
    throw new CarillonError('UNKNOWN_TYPE', `this build implements no type ${type}: pass its file, or another --type`)
  folding = {
    implementation,
    fold: new Refold({ subjects, implementation, id, taskSecret, codecs, interceptors }),
    asked: new AskedEffects(),
    hashesStates,
  }
}

async function fold(messages: readonly PlainMessage[]): Promise<readonly BuildStep[]> {
  const { fold: refold, asked, hashesStates } = current()
  const steps: BuildStep[] = []
  for (const message of messages) {
    const step = await refold.apply(toLogMessage(message))
    if (step === undefined) continue
    asked.add(step.effects)
    const isSettled = step.outcome !== 'parked' && step.outcome !== 'suspended'
    const mismatch = isSettled ? asked.mismatch(step, payloadOf(refold, step, message)) : undefined
    steps.push({ ...step, mismatch, stateHash: hashesStates ? hashOf(refold.state()) : '' })
  }
  return steps
}

/** Undefined when it cannot be read: then the fold has said so. */
function payloadOf({ key }: Refold, { kind, name }: RefoldStep, { payload, headers }: PlainMessage): unknown {
  const encoding = headers[HEADERS.encoding] ?? 'json'
  try {
    return isPayloadEncoding(encoding)
      ? decodeEncoded(codecs, payload, encoding, placeOfInput(key, kind, name))
      : undefined
  } catch {
    return undefined
  }
}

function look(): BuildLook {
  const { fold: refold, implementation } = current()
  const { seq, status, suspension, waitingSince } = refold
  return {
    seq,
    status,
    digest: refold.digest(),
    state: refold.state(),
    version: implementation.version,
    suspendedAt: suspension?.seq,
    waitingSince,
    waits: refold.waits(),
  }
}

function compare(state: unknown, version: number): BuildComparison {
  const { fold: refold, implementation } = current()
  const type = encodeToken(implementation.contract.name)
  const data = { ...emptyData(1), phase: { kind: 'running', startedMs: 0 } as const, state, stateVersion: version }
  const instance = new Instance(`${type}.${refold.key.slice(type.length + 1)}`, implementation, data)
  const misfit = migrateState(instance)
  if (misfit !== undefined) return { isEqual: false, misfit: toErrorData(misfit.error, 'MIGRATION_FAILED').message }
  return hashOf(instance.data.state) === hashOf(refold.state())
    ? { isEqual: true }
    : { isEqual: false, migrated: instance.data.state }
}

function current(): Folding {
  if (folding === undefined) throw new CarillonError('CONFIG_INVALID', 'no instance has been begun')
  return folding
}

function hashOf(state: unknown): string {
  return createHash('sha256').update(encodeCanonical(state)).digest('base64')
}

function toLogMessage({ headers, ...message }: PlainMessage): LogMessage {
  return { ...message, header: (name) => (Object.hasOwn(headers, name) ? headers[name] : undefined) }
}

function respond(response: BuildResponse): void {
  process.send?.(response)
}
