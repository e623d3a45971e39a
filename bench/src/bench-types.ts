/** What the bench's processes say to each other over IPC. */
import type { Way } from './flood-report.ts'

/** One run of the producer: so many signals over so many instances. */
export interface Load {
  readonly signals: number
  readonly instances: number
  /** Prefix of the instance ids, so that every run has instances of its own. */
  readonly prefix: string
}

export type Command =
  | { readonly do: 'connect'; readonly servers: string; readonly namespace: string }
  /** Publishes as fast as it can: bare JetStream publishes, or through the client. */
  | { readonly do: 'produce'; readonly how: 'raw' | 'client'; readonly name: 'count' | 'work'; readonly load: Load }
  /** Sends at a steady pace and measures each from the publish to the echo of whoever applied or consumed it. */
  | {
      readonly do: 'ping'
      readonly how: 'raw' | 'client'
      readonly perSecond: number
      readonly count: number
      readonly prefix: string
    }
  /** Resolves when so many inputs more than at the last `mark` have been consumed or applied. */
  | { readonly do: 'mark' }
  | { readonly do: 'await'; readonly count: number }
  | { readonly do: 'consume' }
  | { readonly do: 'stop-consuming' }
  | {
      readonly do: 'open-node'
      readonly servers: string
      readonly namespace: string
      readonly dataDir: string
      readonly residentsMax: number
    }
  | { readonly do: 'close-node' }
  /** Instances that wait for so many timers each. */
  | { readonly do: 'sleep'; readonly instances: number; readonly timersEach: number }
  /** Signals to the one instance of the flood, from the number `from` on. */
  | { readonly do: 'flood'; readonly way: Way; readonly from: number; readonly count: number }
  /** What its signals have made of it. */
  | { readonly do: 'state'; readonly way: Way }
  | { readonly do: 'probe'; readonly id: string }
  | { readonly do: 'memory' }
  /** CPU time of the process so far, in milliseconds. */
  | { readonly do: 'cpu' }

export interface Answer {
  readonly ok: boolean
  readonly value?: unknown
  readonly error?: string
}
