/** Every subject and stream name of a namespace, made and parsed in one place. */
import { checkNamespace, decodeToken, type Token } from './ids.ts'
import { type Partition, partitionOf } from './partition.ts'

/** The kinds of input, as they stand in a log subject. */
export const INPUT_KINDS = [
  'start',
  'signal',
  'update',
  'activity',
  'timer',
  'child',
  'answer',
  'cancel',
  'admin',
] as const
export type InputKind = (typeof INPUT_KINDS)[number]

/** An instance's address within a partition: `<type token>.<id token>`. Sorts by type, then by id. */
export type InstanceKey = `${string}.${string}`

export interface InstanceAddress {
  readonly partition: Partition
  readonly type: string
  readonly id: string
  readonly key: InstanceKey
}

/** What a log subject says. `name` is empty for `start` and `cancel`. */
export interface LogSubject {
  readonly partition: Partition
  readonly key: InstanceKey
  readonly kind: InputKind
  readonly name: string
}

export interface PatchSubject {
  readonly kind: 'patch'
  readonly partition: Partition
  readonly type: Token
  readonly patch: string
}

/** In place of an instance's id. `$` is escaped in every token. */
const OF_TYPE = '$type'

/** Parsed subjects that are remembered: 8192 of at most 4 KiB. */
const PARSED_MAX = 8192

/** The subjects of one namespace. */
export class Subjects {
  readonly namespace: string
  /** The stream that holds the journal of every partition. */
  readonly logStream: string
  /** The stream that holds dead letters. */
  readonly deadStream: string
  /** The work queue: calls of activities for remote workers. */
  readonly callStream: string
  /** The stream that holds remote snapshots. */
  readonly snapshotStream: string
  /** The KV bucket with the cluster's record. */
  readonly clusterBucket: string
  /** Filter of the whole journal. */
  readonly logAll: string
  readonly deadAll: string
  readonly callAll: string
  readonly snapshotAll: string
  /** Filter of the public door: `<ns>.signal.<type>.<id>.<name>`. */
  readonly doorAll: string
  readonly #logPrefix: string
  readonly #partitions: number
  readonly #parsed = new Map<string, LogSubject>()

  constructor(namespace: string, partitions: number) {
    this.namespace = checkNamespace(namespace)
    this.#partitions = partitions
    this.#logPrefix = `${namespace}.log.`
    this.logStream = `${namespace}-log`
    this.deadStream = `${namespace}-dead`
    this.callStream = `${namespace}-task`
    this.snapshotStream = `${namespace}-snap`
    this.snapshotAll = `${namespace}.snap.>`
    this.clusterBucket = `${namespace}-cluster`
    this.logAll = `${namespace}.log.>`
    this.callAll = `${namespace}.task.>`
    this.deadAll = `${namespace}.dead.>`
    this.doorAll = `${namespace}.signal.*.*.*`
  }

  get partitions(): number {
    return this.#partitions
  }

  /** Where a plain publish on the public door is rewritten to, in nats-server's mapping language. */
  get doorDestination(): string {
    return `${this.#logPrefix}{{partition(${this.#partitions},1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.signal.{{wildcard(3)}}`
  }

  partitionOf(type: Token, id: Token): Partition {
    return partitionOf(type, id, this.#partitions)
  }

  partitionOfKey(key: InstanceKey): Partition {
    const dot = key.indexOf('.')
    return this.partitionOf(key.slice(0, dot) as Token, key.slice(dot + 1) as Token)
  }

  /** The journal's filter of one partition. */
  logOfPartition(partition: Partition): string {
    return `${this.#logPrefix}${partition}.>`
  }

  /** The journal's filter of one instance. */
  logOfInstance(type: Token, id: Token): string {
    return `${this.#logPrefix}${this.partitionOf(type, id)}.${type}.${id}.>`
  }

  /** The subject of one input. `name` is an encoded token, or undefined for `start`. */
  log(type: Token, id: Token, kind: InputKind, name?: Token): string {
    const head = `${this.#logPrefix}${this.partitionOf(type, id)}.${type}.${id}.${kind}`
    return name === undefined ? head : `${head}.${name}`
  }

  /** The subject of an input to an instance whose partition is known. */
  logOfKey(partition: Partition, key: InstanceKey, kind: InputKind, name: Token | undefined): string {
    const head = `${this.#logPrefix}${partition}.${key}.${kind}`
    return name === undefined ? head : `${head}.${name}`
  }

  /**
   * Says that a patch of a type is active in a partition from here on. `$type` is no token of an instance: nothing that names one can come to this
   * subject, nor can the public door.
   */
  patch(partition: Partition, type: Token, patch: Token): string {
    return `${this.#logPrefix}${partition}.${type}.${OF_TYPE}.patch.${patch}`
  }

  /** The journal's filter of what concerns one type in a partition as a whole. */
  logOfType(partition: Partition, type: Token): string {
    return `${this.#logPrefix}${partition}.${type}.${OF_TYPE}.>`
  }

  /** Parses what `patch` gives; undefined for every other subject. */
  parsePatch(subject: string): PatchSubject | undefined {
    if (!subject.startsWith(this.#logPrefix)) return undefined
    const [partition = '', type = '', ofType, kind, patch = '', ...rest] = subject
      .slice(this.#logPrefix.length)
      .split('.')
    const number = Number(partition)
    if (ofType !== OF_TYPE || kind !== 'patch' || rest.length > 0 || !isCanonical(type)) return undefined
    if (String(number) !== partition || !(number >= 0 && number < this.#partitions)) return undefined
    const name = tryDecode(patch)
    return name === undefined ? undefined : { kind: 'patch', partition: number as Partition, type, patch: name }
  }

  /** The public door of a signal. */
  door(type: Token, id: Token, name: Token): string {
    return `${this.namespace}.signal.${type}.${id}.${name}`
  }

  /** Calls of one activity for the workers of a queue. */
  call(queue: Token, type: Token, activity: Token): string {
    return `${this.namespace}.task.${queue}.${type}.${activity}`
  }

  /** The queue, the type and the activity of calls, decoded; undefined for any other subject. */
  parseCall(subject: string): { readonly queue: string; readonly type: string; readonly activity: string } | undefined {
    const prefix = `${this.namespace}.task.`
    if (!subject.startsWith(prefix)) return undefined
    const tokens = subject.slice(prefix.length).split('.').map(tryDecode)
    const [queue, type, activity] = tokens
    if (tokens.length !== 3 || queue === undefined || type === undefined || activity === undefined) return undefined
    return { queue, type, activity }
  }

  /** Where workers hear which calls of a type are not wanted any more. Core NATS. */
  letGo(type: Token): string {
    return `${this.namespace}.let-go.${type}`
  }

  /** The head of a partition's remote snapshot. */
  snapshotHead(partition: Partition): string {
    return `${this.namespace}.snap.${partition}.head`
  }

  /** One part of a segment; of all parts of the segment, or of the partition, where the others are left out. */
  snapshotPart(partition: Partition, segment = '*', index: number | '*' = '*'): string {
    return `${this.namespace}.snap.${partition}.part.${segment}.${index}`
  }

  dead(partition: Partition, key: InstanceKey): string {
    return `${this.namespace}.dead.${partition}.${key}`
  }

  /** The filter of dead letters: of one instance, of a type, or of all. */
  deadOf(type?: Token, id?: Token): string {
    if (type === undefined) return this.deadAll
    if (id === undefined) return `${this.namespace}.dead.*.${type}.*`
    return this.dead(this.partitionOf(type, id), `${type}.${id}`)
  }

  /** The instance of a dead letter's subject; undefined where it names none. */
  parseDead(subject: string): InstanceKey | undefined {
    const [partition, type, id, ...rest] = subject.slice(`${this.namespace}.dead.`.length).split('.')
    if (partition === undefined || type === undefined || id === undefined || rest.length > 0) return undefined
    return isCanonical(type) && isCanonical(id) ? `${type}.${id}` : undefined
  }

  /** Dead letters of messages whose subject names no instance. */
  get deadMalformed(): string {
    return `${this.namespace}.dead.malformed`
  }

  /**
   * The partition that a message of the journal belongs to, whatever its subject is: the number in it, and 0 where it names none. So exactly one owner
   * sees it.
   */
  partitionOfSubject(subject: string): Partition {
    let partition = 0
    for (let i = this.#logPrefix.length; i < subject.length; i++) {
      const digit = subject.charCodeAt(i) - 0x30
      if (digit < 0 || digit > 9) break
      partition = partition * 10 + digit
    }
    return (partition < this.#partitions ? partition : 0) as Partition
  }

  /** Requests to the owner of a partition: queries, describe, outcomes. Core NATS. */
  rpc(partition: Partition): string {
    return `${this.namespace}.rpc.${partition}`
  }

  /** Where nodes say that they live, and what they host (`NodeBeat`). Core NATS, as all of `<ns>.node`. */
  get nodeBeat(): string {
    return `${this.namespace}.node.beat`
  }

  /** A request to all nodes to beat at once; each answers as it answers a ping. "No responders": there is no node. */
  get nodeDiscover(): string {
    return `${this.namespace}.node.discover`
  }

  /** Answered by one node (`PingAnswer`). "No responders": its process is gone. */
  nodePing(node: Token): string {
    return `${this.namespace}.node.ping.${node}`
  }

  /** What an operator asks of one node (`NodeRequest`). */
  nodeAsk(node: Token): string {
    return `${this.namespace}.node.ask.${node}`
  }

  /** Where the ownership record of a partition (`OwnerRecord`) stands: the subject of its key in the cluster's bucket. */
  owner(partition: Partition): string {
    return `$KV.${this.clusterBucket}.owner.${partition}`
  }

  /** The filter of all ownership records. */
  get ownerAll(): string {
    return `$KV.${this.clusterBucket}.owner.*`
  }

  /** The partition of an ownership record's subject; undefined for any other. */
  parseOwner(subject: string): Partition | undefined {
    const prefix = `$KV.${this.clusterBucket}.owner.`
    if (!subject.startsWith(prefix)) return undefined
    const number = Number(subject.slice(prefix.length))
    const isOurs = Number.isInteger(number) && number >= 0 && number < this.#partitions
    return isOurs && this.owner(number as Partition) === subject ? (number as Partition) : undefined
  }

  /** Reads by any node that follows a partition, its owner included: they share a queue group. Core NATS. */
  rpcAny(partition: Partition): string {
    return `${this.namespace}.rpc.any.${partition}`
  }

  /** Requests to one node about a partition that it follows or owns. Core NATS. */
  rpcOfNode(node: Token, partition: Partition): string {
    return `${this.namespace}.rpc.node.${node}.${partition}`
  }

  /** Where the owner of a partition tells digests of its instances. Core NATS. */
  digests(partition: Partition): string {
    return `${this.namespace}.node.digest.${partition}`
  }

  /**
   * Parses a journal subject, or returns undefined when it is none of ours: wrong shape, an unknown kind, a token that is not canonical, or a
   * partition that is not the instance's.
   */
  parseLog(subject: string): LogSubject | undefined {
    const known = this.#parsed.get(subject)
    if (known !== undefined) return known
    const parsed = this.#parse(subject)
    if (parsed === undefined) return undefined
    // Busy instances come back within a moment; for the others, looking costs little.
    if (this.#parsed.size >= PARSED_MAX) this.#parsed.clear()
    this.#parsed.set(subject, parsed)
    return parsed
  }

  #parse(subject: string): LogSubject | undefined {
    if (!subject.startsWith(this.#logPrefix)) return undefined
    const tokens = subject.slice(this.#logPrefix.length).split('.')
    const [partition, type, id, kind, name] = tokens
    if (partition === undefined || type === undefined || id === undefined || kind === undefined) return undefined
    if (tokens.length !== (kind === 'start' || kind === 'cancel' ? 4 : 5) || !isInputKind(kind)) return undefined
    if (!isCanonical(type) || !isCanonical(id)) return undefined
    const expected = this.partitionOf(type, id)
    if (partition !== String(expected)) return undefined
    const decodedName = name === undefined ? '' : tryDecode(name)
    return decodedName === undefined
      ? undefined
      : { partition: expected, key: `${type}.${id}`, kind, name: decodedName }
  }
}

/** The type and id of an instance key. */
export function parseKey(key: InstanceKey): { readonly type: string; readonly id: string } {
  const dot = key.indexOf('.')
  return { type: decodeToken(key.slice(0, dot)), id: decodeToken(key.slice(dot + 1)) }
}

/** The type token of an instance key: enough to find the implementation. */
export function typeTokenOf(key: InstanceKey): Token {
  return key.slice(0, key.indexOf('.')) as Token
}

function isInputKind(kind: string): kind is InputKind {
  return (INPUT_KINDS as readonly string[]).includes(kind)
}

function isCanonical(token: string): token is Token {
  return tryDecode(token) !== undefined
}

function tryDecode(token: string): string | undefined {
  try {
    return decodeToken(token)
  } catch {
    return undefined
  }
}
