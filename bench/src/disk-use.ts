/** What a node's store takes on disk, read by another process than the node's. The cluster of the flood holds one instance. */

import { open } from 'lmdb'

export interface DiskUse {
  /** The instance's record: summary and state. */
  readonly recordBytes: number
  /** Inputs that the record does not hold. */
  readonly tailRows: number
  /** Of the pages that they take. */
  readonly tailBytes: number
}

interface Stats {
  readonly entryCount: number
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

export async function readDiskUse(dataDir: string): Promise<DiskUse> {
  const environment = open({ path: dataDir, noSubdir: false, readOnly: true, maxDbs: 16, encoding: 'binary' })
  try {
    const table = (name: string) =>
      environment.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' })
    const recordBytes = [...table('record').getRange()].reduce(
      (sum, { key, value }) => sum + key.length + value.length,
      0,
    )
    const tail = table('tail').getStats() as unknown as Stats
    const pages = tail.treeBranchPageCount + tail.treeLeafPageCount + tail.overflowPages
    return { recordBytes, tailRows: tail.entryCount, tailBytes: pages * tail.pageSize }
  } finally {
    await environment.close()
  }
}
