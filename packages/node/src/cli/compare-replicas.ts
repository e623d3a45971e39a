/**
 * Compares the instances of one partition on all nodes that have it, while it goes on: by digests, each as of the same input on every side.
 *
 * Owns: how pages of several nodes are brought together, and what is asked again because it moved.
 * Does not own: how nodes are asked.
 */
import type { DigestPage, DigestRow, DigestSample, InstanceKey, RpcRequest } from '@carillon/runtime/protocol'

type DigestsRequest = RpcRequest & { readonly op: 'digests' }

export interface Replica {
  readonly node: string
  readonly build: string
  ask(request: DigestsRequest): Promise<DigestPage>
}

export interface ReplicaDigest {
  readonly node: string
  readonly build: string
  /** Null where the node has no such instance. */
  readonly seq: number | null
  readonly digest: string | null
}

export interface Difference {
  readonly key: InstanceKey
  readonly replicas: readonly ReplicaDigest[]
}

/** An instance that is the same everywhere, for who wants to fold it again. */
export interface Agreed {
  readonly key: InstanceKey
  readonly row: DigestRow
}

export interface Comparison {
  instances: number
  /** Equal on all nodes, as of one input. */
  equal: number
  /** Of those: busy ones, by digests that were taken right behind the same input. */
  bySample: number
  differing: Difference[]
  /** Took inputs faster than they could be asked for. */
  moving: number
  /** States of different versions, or of a type that one of the nodes does not run. */
  incomparable: number
}

const PAGE = 500
/** How often what moved is asked for again. */
const TRIES_MAX = 8
const WAIT_MS = 2000

type Rows = ReadonlyMap<InstanceKey, DigestRow>

/** Compares all instances. `onAgreed` is told of each that is the same on all nodes. Rejects when a node gives no answer. */
export async function compareReplicas(
  replicas: readonly Replica[],
  onAgreed: (agreed: Agreed) => void,
  onProgress: (instances: number) => void = () => {},
): Promise<Comparison> {
  const result: Comparison = { instances: 0, equal: 0, bySample: 0, differing: [], moving: 0, incomparable: 0 }
  const [first] = replicas
  if (first === undefined) return result
  for (let after: InstanceKey | undefined, isLast = false; !isLast;) {
    const page = await first.ask({
      op: 'digests',
      limit: PAGE,
      waitMs: WAIT_MS,
      ...(after === undefined ? {} : { after }),
    })
    const others = await Promise.all(replicas.slice(1).map((replica) => rangeOf(replica, after, page.next)))
    const all = [byKey(page.rows), ...others]
    const keys = [...new Set(all.flatMap((rows) => [...rows.keys()]))].sort()
    await settle(replicas, keys, all, result, onAgreed)
    result.instances += keys.length
    onProgress(result.instances)
    isLast = page.next === undefined
    after = page.next
  }
  return result
}

/** What another node has in the range of a page; in as many pages as it needs. */
async function rangeOf(
  replica: Replica,
  after: InstanceKey | undefined,
  until: InstanceKey | undefined,
): Promise<Rows> {
  const rows: DigestRow[] = []
  for (let from = after, isLast = false; !isLast;) {
    const page = await replica.ask({
      op: 'digests',
      limit: PAGE,
      waitMs: WAIT_MS,
      ...(from === undefined ? {} : { after: from }),
      ...(until === undefined ? {} : { until }),
    })
    rows.push(...page.rows)
    isLast = page.next === undefined
    from = page.next
  }
  return byKey(rows)
}

/** Judges what can be judged, and asks again for the rest: it had inputs between one answer and the next. */
async function settle(
  replicas: readonly Replica[],
  keys: readonly InstanceKey[],
  first: readonly Rows[],
  result: Comparison,
  onAgreed: (agreed: Agreed) => void,
): Promise<void> {
  let open = keys
  let all = first
  let samples: readonly (readonly DigestSample[])[] = []
  for (let tries = 0; ; tries++) {
    const isOver = tries === TRIES_MAX
    open = open.filter((key) => {
      const rows = all.map((of) => of.get(key))
      const verdict = judge(rows) ?? (isOver ? judgeSamples(key, samples) : undefined)
      if (verdict === undefined) return !isOver || note(result, 'moving', key, rows, replicas)
      const [row] = rows
      if (verdict === 'equal' && row !== undefined) onAgreed({ key, row })
      return note(result, verdict, key, rows, replicas)
    })
    if (open.length === 0 || isOver) return
    const minSeq = Math.max(0, ...all.flatMap((rows) => [...rows.values()].map(({ atSeq }) => atSeq)))
    const request: DigestsRequest = { op: 'digests', keys: open, limit: PAGE, minSeq, waitMs: WAIT_MS }
    const pages = await Promise.all(replicas.map((replica) => allOf(replica, request)))
    all = pages.map(({ rows }) => byKey(rows))
    samples = pages.map((page) => page.samples)
  }
}

/** All of the keys, in as many pages as the node needs. */
async function allOf(
  replica: Replica,
  request: DigestsRequest & { readonly keys?: readonly InstanceKey[] },
): Promise<DigestPage> {
  const rows: DigestRow[] = []
  const samples: DigestSample[] = []
  for (let keys = request.keys ?? []; keys.length > 0;) {
    const page = await replica.ask({ ...request, keys })
    rows.push(...page.rows)
    samples.push(...page.samples)
    keys = page.next === undefined ? [] : keys.slice(keys.indexOf(page.next) + 1)
  }
  return { rows, samples }
}

type Verdict = 'equal' | 'bySample' | 'differing' | 'moving' | 'incomparable'

/** Undefined while the rows are not of one moment. */
function judge(rows: readonly (DigestRow | undefined)[]): Verdict | undefined {
  const [first, ...rest] = rows
  const isNowhere = rows.every((row) => row === undefined)
  if (isNowhere) return 'equal'
  // One has it, and another, which has come as far, has not.
  const there = rows.filter((row) => row !== undefined)
  if (there.length < rows.length) return undefined
  if (there.some(({ digest }) => digest === '')) return 'incomparable'
  if (rest.some((row) => row?.seq !== first?.seq)) return undefined
  if (rest.some((row) => row?.stateVersion !== first?.stateVersion)) return 'incomparable'
  return rest.every((row) => row?.digest === first?.digest) ? 'equal' : 'differing'
}

/** By the last digest that all nodes have taken right behind the same input. */
function judgeSamples(key: InstanceKey, all: readonly (readonly DigestSample[])[]): Verdict | undefined {
  const [first, ...rest] = all.map(
    (samples) => new Map(samples.filter((one) => one.key === key).map((one) => [one.seq, one])),
  )
  const common = [...(first?.values() ?? [])].findLast(({ seq }) => rest.every((samples) => samples.has(seq)))
  if (common === undefined) return undefined
  const others = rest.map((samples) => samples.get(common.seq))
  if (others.some((one) => one?.stateVersion !== common.stateVersion)) return 'incomparable'
  return others.every((one) => one?.digest === common.digest) ? 'bySample' : 'differing'
}

/** False: it is settled. */
function note(
  result: Comparison,
  verdict: Verdict,
  key: InstanceKey,
  rows: readonly (DigestRow | undefined)[],
  replicas: readonly Replica[],
): false {
  // One that all have at one place but some have not at all is missing there.
  const isMissing =
    verdict === 'moving' && rows.some((row) => row === undefined) && rows.some((row) => row !== undefined)
  if (verdict === 'bySample') result.bySample += 1
  if (verdict === 'equal' || verdict === 'bySample') result.equal += 1
  else if (verdict === 'differing' || isMissing)
    result.differing.push({
      key,
      replicas: replicas.map(({ node, build }, i) => ({
        node,
        build,
        seq: rows[i]?.seq ?? null,
        digest: rows[i]?.digest ?? null,
      })),
    })
  else result[verdict] += 1
  return false
}

function byKey(rows: readonly DigestRow[]): Rows {
  return new Map(rows.map((row) => [row.key, row]))
}
