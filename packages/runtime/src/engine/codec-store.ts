/**
 * A node's store behind the codecs: values pass them on their way in and out; keys stay as they are, for they give the order.
 *
 * A row that passed them begins with two bytes that nothing else begins with, and names what it passed. So a store that was written without codecs
 * is read as it is, and becomes an encoded one row by row; and back, where the codecs leave the store out.
 *
 * Invariants
 * 1. Every row of an encoded table that is written through it is marked, also one that each codec has left as it is.
 * 2. Encryption binds a row to its table and its key: one in another place cannot be opened.
 */
import { CarillonError, hasCode } from '../errors.ts'
import type { OrderedStore, Range, Row, StoreReader, StoreView, Table, Write } from '../ports/index.ts'
import { isPayloadEncoding, type PayloadCodecs, type PayloadPlace } from '../protocol/index.ts'

/** 0xc1 begins no msgpack, and as the high byte of a record's summary it would be one of 49 KB; 0xff is in no UTF-8, so no block of known ids begins so. */
const MARK = Uint8Array.of(0xc1, 0xff)
const HEAD_BYTES = MARK.length + 1
/** The tables whose values hold values of users. In the others stand positions, names of timers and statuses, which their keys show as well. */
const ENCODED: ReadonlySet<Table> = new Set(['record', 'tail', 'ids', 'effect'])
/** Bytes of one decoded row: a state has 8 MiB at most, and known ids with their outcomes come on top. */
const ROW_BYTES_MAX = 64 * 1024 * 1024

export class CodecStore implements OrderedStore {
  readonly #store: OrderedStore
  readonly #codecs: PayloadCodecs

  constructor(store: OrderedStore, codecs: PayloadCodecs) {
    this.#store = store
    this.#codecs = codecs
  }

  get(table: Table, key: string): Uint8Array | undefined {
    const row = this.#store.get(table, key)
    return row === undefined ? undefined : this.#decode(table, key, row)
  }

  range(table: Table, range: Range): Generator<Row, void, undefined> {
    return this.#decoded(this.#store, table, range)
  }

  view(): StoreView {
    const view = this.#store.view()
    return {
      get: (table, key) => {
        const row = view.get(table, key)
        return row === undefined ? undefined : this.#decode(table, key, row)
      },
      range: (table, range) => this.#decoded(view, table, range),
      close: () => view.close(),
    }
  }

  commit(writes: readonly Write[]): Promise<void> {
    return this.#store.commit(
      writes.map(({ table, key, value }) => ({
        table,
        key,
        value: value === undefined ? undefined : this.#encode(table, key, value),
      })),
    )
  }

  flushed(): Promise<void> {
    return this.#store.flushed()
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  *#decoded(from: StoreReader, table: Table, range: Range): Generator<Row, void, undefined> {
    for (const { key, value } of from.range(table, range)) yield { key, value: this.#decode(table, key, value) }
  }

  #encode(table: Table, key: string, value: Uint8Array): Uint8Array {
    if (!this.#codecs.encodesStore || !ENCODED.has(table)) return value
    const { bytes, encoding } = this.#codecs.encode(value, 'msgpack', placeOf(table, key))
    const head = Buffer.from(encoding, 'latin1')
    const row = new Uint8Array(HEAD_BYTES + head.length + bytes.length)
    row.set(MARK)
    row[MARK.length] = head.length
    row.set(head, HEAD_BYTES)
    row.set(bytes, HEAD_BYTES + head.length)
    return row
  }

  /** @throws CONFIG_INVALID when a codec or a key is missing. @throws SNAPSHOT_DAMAGED when the row cannot be decoded. */
  #decode(table: Table, key: string, row: Uint8Array): Uint8Array {
    if (!ENCODED.has(table) || row[0] !== MARK[0] || row[1] !== MARK[1]) return row
    const end = HEAD_BYTES + (row[MARK.length] ?? 0)
    const encoding = Buffer.from(row.subarray(HEAD_BYTES, end)).toString('latin1')
    try {
      if (!isPayloadEncoding(encoding)) throw new CarillonError('INVALID_PAYLOAD', 'its head is none')
      return this.#codecs.decode(row.subarray(end), encoding, placeOf(table, key))
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (hasCode(error, 'UNKNOWN_CODEC'))
        throw new CarillonError('CONFIG_INVALID', `the store cannot be read: ${reason}`, { cause: error })
      throw new CarillonError(
        'SNAPSHOT_DAMAGED',
        `the row ${JSON.stringify(key)} of table ${table} cannot be decoded: ${reason}. Set the data folder aside, it is rebuilt from the journal`,
        { cause: error },
      )
    }
  }
}

function placeOf(table: Table, key: string): PayloadPlace {
  return { key, what: `row.${table}`, bytesMax: ROW_BYTES_MAX }
}
