/** Loads the codecs of a process from a file: .ts as it stands, or .js. */
import { CarillonError } from '@carillon/runtime'
import { isPayloadCodecs, type PayloadCodecs } from '@carillon/runtime/protocol'

import { exportsOf, importModules } from './load-workflows.ts'

/**
 * Imports the file and gives what `createCodecs` made there, exported by any name or as the default.
 *
 * @throws CONFIG_INVALID when the file does not exist. @throws INVALID_DEFINITION when it does not load, or exports no codecs.
 */
export async function loadCodecs(file: string): Promise<PayloadCodecs> {
  for (const module of await importModules([file], 'codecs'))
    for (const value of exportsOf(module)) if (isPayloadCodecs(value)) return value
  throw new CarillonError('INVALID_DEFINITION', `no codecs were found in ${file}: export what createCodecs(…) returns`)
}
