/**
 * Instances as bytes.
 *
 * A record is a short summary (for lists, and for what must be known before the code runs) in front of the last quiescent data. An instance in
 * which code waits is its record and its tail: the inputs behind `coveredSeq`.
 */
import {
  decodeValue,
  encodeCanonical,
  encodeValue,
  type Input,
  type InputKind,
  type InstanceKey,
  INSTANCE_STATUSES,
  isPlain,
  type Mark,
  NO_BYTES,
  type Outcome,
  type PayloadEncoding,
} from '../protocol/index.ts'
import type { AttributeData } from './attributes.ts'
import { PARENT_CLOSE_POLICIES } from './children.ts'
import type { EffectId } from './effect.ts'
import { emptyData, type InstanceData, type OpenChild, type Phase, type SetTimer } from './instance-data.ts'
import { type KnownHead, KnownIds } from './known-ids.ts'
import type { Renewal } from './renewal.ts'
import type { Repeat, Repeats } from './repeats.ts'
import { type FlatStanding, flattenStanding, type Standing, type Suspension, unflattenStanding } from './standing.ts'

export interface Summary {
  readonly status: RecordStatus
  readonly startedMs: number
  /** Inputs up to here are in the data; the tail holds the ones behind it. */
  readonly coveredSeq: number
  readonly standing: Standing | undefined
  /** When it closed; undefined while it has not. */
  readonly closedMs: number | undefined
  /** As of now, also where the data behind it is older. */
  readonly attributes: AttributeData | undefined
}

/** By their code in records and rows of the index, which stays: a new one comes last. */
const STATUSES = ['absent', ...INSTANCE_STATUSES] as const
export type RecordStatus = (typeof STATUSES)[number]

type FlatSummary = [
  status: number,
  startedMs: number,
  coveredSeq: number,
  suspension?: Suspension | null,
  rare?: { readonly closedMs?: number; readonly attributes?: AttributeData; readonly standing?: FlatStanding },
]
type FlatPhase = [] | [startedMs: number] | [startedMs: number, seq: number, timeMs: number, outcome: Outcome]
type FlatData = [
  phase: FlatPhase,
  incarnation: number,
  seq: number,
  timeMs: number,
  state: [] | [unknown],
  known: FlatKnown,
  timers: [name: string, effect: EffectId, dueMs: number][],
  sleeps: [effect: EffectId, dueMs: number][],
  activities: [effect: EffectId, name: string][],
  mailbox: FlatInput[],
  rare?: FlatRare,
]
/** What few instances have, each under its own name: a part that is not there takes no room. */
interface FlatRare {
  family?: FlatFamily
  renewal?: FlatRenewal
  /** Of the state; 1 where it is not there. */
  version?: number
  attributes?: AttributeData
  repeats?: FlatRepeat[]
}
type FlatRepeat = [
  name: string,
  plan: [] | [everyMs: number] | [pattern: string, timeZone: string],
  isOneOff: boolean,
  missed: number,
]
type FlatRenewal = [input: [] | [unknown], mark: number, behind: FlatInput[], isLenient?: true]
type FlatFamily = [
  children: [effect: EffectId, key: InstanceKey, policy: number | boolean][],
  parent?: [] | [key: InstanceKey, effect: EffectId],
  calls?: [effect: EffectId, name: string][],
]
type FlatKnown = [first: number, next: number, head: Uint8Array, waiting: KnownHead['waiting']]
type FlatInput = [
  seq: number,
  timeMs: number,
  kind: InputKind,
  name: string,
  id: string | null,
  /** True for JSON, false for msgpack; the text where it passed codecs. */
  json: boolean | PayloadEncoding,
  payload: Uint8Array,
  reply: string | null,
  trace: string | null,
  version: string,
  mark?: Mark,
]

const NO_HEAD: KnownHead = { first: 0, next: 0, head: NO_BYTES, waiting: [] }

/** A record: the summary, then the data as it is (it may have been encoded earlier). */
export function encodeRecord(summary: Summary, data: Uint8Array): Uint8Array {
  const { standing, closedMs, attributes } = summary
  const flat: FlatSummary = [statusCode(summary.status), summary.startedMs, summary.coveredSeq]
  const suspension = standing?.suspension
  if (suspension !== undefined) flat.push(suspension)
  if (closedMs !== undefined || attributes !== undefined || standing !== undefined) {
    if (suspension === undefined) flat.push(null)
    flat.push({
      ...(closedMs === undefined ? {} : { closedMs }),
      ...(attributes === undefined ? {} : { attributes }),
      ...(standing === undefined ? {} : { standing: flattenStanding(standing) }),
    })
  }
  const head = encodeValue(flat)
  const record = new Uint8Array(2 + head.length + data.length)
  record[0] = head.length >>> 8
  record[1] = head.length & 0xff
  record.set(head, 2)
  record.set(data, 2 + head.length)
  return record
}

export function decodeSummary(record: Uint8Array): Summary {
  const [status, startedMs, coveredSeq, suspension, { closedMs, attributes, standing } = {}] = decodeValue(
    record.subarray(2, dataOffset(record)),
  ) as FlatSummary
  return {
    status: statusOfCode(status),
    startedMs,
    coveredSeq,
    standing: unflattenStanding(suspension ?? undefined, standing),
    closedMs,
    attributes,
  }
}

export function statusCode(status: RecordStatus): number {
  return STATUSES.indexOf(status)
}

export function statusOfCode(code: number | undefined): RecordStatus {
  return STATUSES[code ?? 0] ?? 'absent'
}

/** The part behind the summary; empty for an instance that has never been quiescent. */
export function dataBytes(record: Uint8Array): Uint8Array {
  return record.subarray(dataOffset(record))
}

/** Encodes the data of a quiescent instance, or of one that has just been renewed. Throws as `encodeValue` when its state cannot be kept. */
export function encodeData(data: InstanceData, known: KnownHead = data.known.saveHead()): Uint8Array {
  return encodeValue(flattenData(data, known))
}

export function decodeData(
  bytes: Uint8Array,
  knownIdsMax: number,
  loadBlock: (block: number) => Uint8Array,
): InstanceData {
  if (bytes.length === 0) return emptyData(knownIdsMax)
  const [phase, incarnation, seq, timeMs, state, known, timers, sleeps, activities, mailbox, rare = {}] = decodeValue(
    bytes,
  ) as FlatData
  return {
    phase: decodePhase(phase),
    incarnation,
    seq,
    timeMs,
    state: state[0],
    stateVersion: rare.version ?? 1,
    known: KnownIds.restore(knownIdsMax, unflattenKnown(known), loadBlock),
    timers: new Map(timers.map(([name, effect, dueMs]): [string, SetTimer] => [name, { effect, dueMs }])),
    sleeps: new Map(sleeps),
    activities: new Map(activities),
    mailbox: mailbox.map(unflattenInput),
    ...unflattenFamily(rare.family),
    attributes: rare.attributes,
    renewal: unflattenRenewal(rare.renewal),
    repeats: unflattenRepeats(rare.repeats),
  }
}

export function encodeInput(input: Input): Uint8Array {
  return encodeValue(flattenInput(input))
}

export function decodeInput(bytes: Uint8Array): Input {
  return unflattenInput(decodeValue(bytes) as FlatInput)
}

/** What every node that has applied the same inputs agrees on, canonically: for digests and checkers. */
export function canonicalData(data: InstanceData): Uint8Array {
  // Whether an absent instance still knows its position depends on when it left memory.
  const settled = data.phase.kind === 'absent' ? { ...data, seq: 0 } : data
  const flat = flattenData(settled, data.known.saveHead())
  return encodeCanonical([...flat.slice(0, 5), data.known.canonical(), ...flat.slice(6)])
}

/** The same without the known ids but for their number: they are most of the bytes of an instance that has had many inputs. */
export function canonicalBrief(data: InstanceData): Uint8Array {
  const settled = data.phase.kind === 'absent' ? { ...data, seq: 0 } : data
  const flat = flattenData(settled, NO_HEAD)
  return encodeCanonical([...flat.slice(0, 5), data.known.size, ...flat.slice(6)])
}

export function statusOf(phase: Phase): Summary['status'] {
  if (phase.kind !== 'closed') return phase.kind
  return phase.outcome.ok ? 'completed' : 'failed'
}

function flattenData(data: InstanceData, known: KnownHead): FlatData {
  const rare = flattenRare(data)
  return [
    encodePhase(data.phase),
    data.incarnation,
    data.seq,
    data.timeMs,
    data.state === undefined ? [] : [data.state],
    flattenKnown(known),
    [...data.timers].map(([name, { effect, dueMs }]) => [name, effect, dueMs]),
    [...data.sleeps],
    [...data.activities],
    data.mailbox.map(flattenInput),
    ...(Object.keys(rare).length === 0 ? ([] as const) : ([rare] as const)),
  ]
}

function flattenRare(data: InstanceData): FlatRare {
  const rare: FlatRare = {}
  if (data.children.size > 0 || data.parent !== undefined || data.calls.size > 0) rare.family = flattenFamily(data)
  if (data.stateVersion !== 1) rare.version = data.stateVersion
  if (data.renewal !== undefined) rare.renewal = flattenRenewal(data.renewal)
  if (data.attributes !== undefined) rare.attributes = data.attributes
  if (data.repeats !== undefined) rare.repeats = [...data.repeats].map(flattenRepeat)
  return rare
}

function flattenRepeat([name, { plan, isOneOff, missed }]: readonly [string, Repeat]): FlatRepeat {
  if (plan === undefined) return [name, [], isOneOff, missed]
  return [name, plan.kind === 'every' ? [plan.everyMs] : [plan.pattern, plan.timeZone], isOneOff, missed]
}

function unflattenRepeats(repeats: FlatRepeat[] | undefined): Repeats | undefined {
  return repeats && new Map(repeats.map(([name, ...repeat]) => [name, unflattenRepeat(repeat)]))
}

function unflattenRepeat([[first, timeZone], isOneOff, missed]: FlatRepeat extends [string, ...infer Rest]
  ? Rest
  : never): Repeat {
  if (first === undefined) return { plan: undefined, isOneOff, missed }
  if (typeof first === 'number') return { plan: { kind: 'every', everyMs: first }, isOneOff, missed }
  return { plan: { kind: 'cron', pattern: first, timeZone: timeZone ?? 'UTC' }, isOneOff, missed }
}

function flattenRenewal({ input, mark, behind, isLenient }: Renewal): FlatRenewal {
  const flat: FlatRenewal = [input === undefined ? [] : [input], mark, behind.map(flattenInput)]
  if (isLenient === true) flat.push(true)
  return flat
}

function unflattenRenewal(renewal: FlatRenewal | undefined): Renewal | undefined {
  if (renewal === undefined) return undefined
  const [input, mark, behind, isLenient] = renewal
  return {
    input: input[0],
    mark,
    behind: behind.map(unflattenInput),
    ...(isLenient === undefined ? {} : { isLenient }),
  }
}

function flattenFamily({ children, parent, calls }: InstanceData): FlatFamily {
  const open = [...children].map(([effect, { key, onParentClose }]): FlatFamily[0][number] => [
    effect,
    key,
    PARENT_CLOSE_POLICIES.indexOf(onParentClose),
  ])
  return [open, parent === undefined ? [] : [parent.key, parent.effect], [...calls]]
}

function unflattenFamily(family: FlatFamily = [[]]): Pick<InstanceData, 'children' | 'parent' | 'calls'> {
  const [children, [key, effect] = [], calls = []] = family
  return {
    children: new Map(
      children.map(([effect, key, policy]): [EffectId, OpenChild] => [
        effect,
        { key, onParentClose: PARENT_CLOSE_POLICIES[Number(policy)] ?? 'terminate' },
      ]),
    ),
    parent: key === undefined || effect === undefined ? undefined : { key, effect },
    calls: new Map(calls),
  }
}

function flattenKnown({ first, next, head, waiting }: KnownHead): FlatKnown {
  return [first, next, head, waiting]
}

function unflattenKnown([first, next, head, waiting]: FlatKnown): KnownHead {
  return { first, next, head, waiting }
}

function encodePhase(phase: Phase): FlatPhase {
  if (phase.kind === 'absent') return []
  if (phase.kind === 'running') return [phase.startedMs]
  return [phase.startedMs, phase.seq, phase.timeMs, phase.outcome]
}

function decodePhase(flat: FlatPhase): Phase {
  const [startedMs, seq, timeMs, outcome] = flat
  if (startedMs === undefined) return { kind: 'absent' }
  if (seq === undefined || timeMs === undefined || outcome === undefined) return { kind: 'running', startedMs }
  return { kind: 'closed', startedMs, seq, timeMs, outcome }
}

function flattenInput({
  seq,
  timeMs,
  kind,
  name,
  id,
  encoding,
  payload,
  reply,
  trace,
  version,
  mark,
}: Input): FlatInput {
  const json = isPlain(encoding) ? encoding === 'json' : encoding
  const flat: FlatInput = [seq, timeMs, kind, name, id ?? null, json, payload, reply ?? null, trace ?? null, version]
  if (mark !== undefined) flat.push(mark)
  return flat
}

function unflattenInput([seq, timeMs, kind, name, id, json, payload, reply, trace, version, mark]: FlatInput): Input {
  const input: Input = {
    seq,
    timeMs,
    kind,
    name,
    id: id ?? undefined,
    encoding: typeof json === 'string' ? json : json ? 'json' : 'msgpack',
    payload,
    reply: reply ?? undefined,
    trace: trace ?? undefined,
    version,
  }
  return mark === undefined ? input : { ...input, mark }
}

function dataOffset(record: Uint8Array): number {
  return 2 + (((record[0] ?? 0) << 8) | (record[1] ?? 0))
}
