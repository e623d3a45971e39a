/** The files by which the processes of a run tell the checker what they saw: JSON lines, one kind of line per file. */

export const FILES = {
  /** What each producer did: `Sent`, `Acked`, `Told`. */
  producer: (number: number) => `producer-${number}.jsonl`,
  /** `DumpedMessage` of the log stream, in order. */
  journal: 'journal.jsonl',
  /** `DumpedMessage` of the stream of dead letters. */
  dead: 'dead.jsonl',
  /** `Attempt`s of activities. */
  sink: 'sink.jsonl',
  /** `Look`s at instances, in the order in which they were answered. */
  looks: 'looks.jsonl',
  /** `Owning`: what each node owns, whenever that changes. */
  owners: 'owners.jsonl',
} as const

/** Written before the first attempt to send. */
export interface Sent {
  readonly what: 'sent'
  readonly id: string
  /** `<type>.<id>`; undefined when its subject names no instance. */
  readonly key?: string
  readonly kind: 'signal' | 'update'
  readonly name: string
  /** The value, or, of one that is meant to be unreadable, its bytes in base64. */
  readonly payload?: unknown
  readonly bytes?: string
  readonly isPoison: boolean
  /** Which of the sender's lines to its instance it is, when it goes in order. */
  readonly turn?: number
}

/** An acknowledgement of JetStream. */
export interface Acked {
  readonly what: 'acked'
  readonly id: string
  readonly seq: number
  /** It was not the first attempt, so its place says nothing about order. */
  readonly again: boolean
}

/** What the sender of an update was told. */
export interface Told {
  readonly what: 'told'
  readonly id: string
  readonly outcome: { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly code: string }
}

export type ProducerLine = Sent | Acked | Told

export interface DumpedMessage {
  readonly seq: number
  readonly timeMs: number
  readonly subject: string
  readonly headers: Readonly<Record<string, string>>
  /** Base64. */
  readonly payload: string
}

export interface Attempt {
  readonly callId: string
  readonly activity: string
  readonly attempt: number
  readonly input: object
  /** The node, or the worker, that ran it. */
  readonly by: string
  readonly atMs: number
}

/** What a node said of an instance. */
export interface Look {
  readonly key: string
  readonly seq: number
  readonly digest: string
  readonly status: string
  /** As the reference views it: `FoldView`. */
  readonly view: object
  /** Of which round: only lines of one quiet moment make a sum. */
  readonly round: number
  readonly when: 'traffic' | 'quiet'
  /** The node had to have applied the journal up to here. */
  readonly minSeq: number
  /** Which reader: what one reader sees of an instance never goes backwards. */
  readonly reader: string
}

/** What a node says that it owns. */
export interface Owning {
  readonly node: string
  readonly incarnation: string
  /** Partitions, each with the epoch of its ownership. */
  readonly owned: readonly (readonly [partition: number, epoch: number])[]
}
