/** Payload codecs: what bytes pass on their way out of a process, and back on their way in. Compression and encryption are two of them. */

/** Where bytes belong. An encryption binds them to it, so that they mean nothing anywhere else. */
export interface PayloadPlace {
  /** `<type token>.<id token>` of the instance whose bytes they are; in a node's store, the key of the row. */
  readonly key: string
  /** What they are there: kind and name of an input (`signal.purchase`), a reply, an answer, a row of a table. */
  readonly what: string
  /** Bytes that decoding may give at most. */
  readonly bytesMax: number
}

/**
 * One step that bytes pass. Synchronous, because inputs are decoded inside turns; what it decodes depends on the bytes, the place and its keys alone.
 */
export interface PayloadCodec {
  /** How messages name it: 1 to 32 characters of `[a-z0-9.-]`. Bytes are decoded by the codec of that name, so it never changes its meaning. */
  readonly name: string
  /** Never fails. The very bytes it was given: it has left them as they are, and is not named. */
  encode(bytes: Uint8Array, place: PayloadPlace): Uint8Array
  /**
   * Gives back what was encoded.
   *
   * @throws INVALID_PAYLOAD when the bytes prove that no key can read them: the input is a dead letter. @throws UNKNOWN_CODEC when a key is missing
   * here: the instance is suspended until it is there.
   */
  decode(bytes: Uint8Array, place: PayloadPlace): Uint8Array
}
