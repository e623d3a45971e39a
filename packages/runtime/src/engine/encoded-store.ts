/** Whether a store holds rows that passed codecs. It is remembered in the store, so that a node without codecs does not take them for what they are not. */
import { CarillonError } from '../errors.ts'
import type { OrderedStore } from '../ports/index.ts'
import { encodeValue, type PayloadCodecs } from '../protocol/index.ts'

/** In the table `meta`, whose values pass no codec. */
const CODECS_KEY = 'codecs'

/** Before anything is read. @throws CONFIG_INVALID when the store was written through codecs, and there are none now. */
export async function rememberCodecs(store: OrderedStore, codecs: PayloadCodecs | undefined): Promise<void> {
  const isEncoded = store.get('meta', CODECS_KEY) !== undefined
  if (codecs === undefined && isEncoded)
    throw new CarillonError(
      'CONFIG_INVALID',
      'the data of this node was written through codecs, and it was started without: give it the codecs, or set the data folder aside, it is rebuilt from the journal',
    )
  if (codecs?.encodesStore === true && !isEncoded)
    await store.commit([{ table: 'meta', key: CODECS_KEY, value: encodeValue(true) }])
}
