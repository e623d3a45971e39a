/** What a node puts around the implementations that it runs. They are made without it. */
import type { PayloadCodecs } from '../protocol/payload-codecs.ts'
import type { Implementation } from './implement.ts'

export interface Host {
  /** What payloads pass on their way out and in; undefined for none. */
  readonly codecs?: PayloadCodecs | undefined
}

/** The implementation as one node runs it. */
export function withHost(implementation: Implementation, host: Host): Implementation {
  return Object.values(host).every((part) => part === undefined)
    ? implementation
    : Object.freeze({ ...implementation, host })
}
