/**
 * A program for the tests of the store: opens a directory and prints a JSON line for each thing it has done.
 *
 * store-writer.ts <path> commit   commits batches of 50 rows, all with the batch's number, until it is killed
 * store-writer.ts <path> fill     commits until a commit fails, says what is visible then, tries again, closes
 * store-writer.ts <path> hold     waits to be killed
 */
import { openLmdbStore } from '@carillon/node'
import { silentLogger, type Write } from '@carillon/runtime/ports'

const [path = '', mode = 'hold'] = process.argv.slice(2)
const unhandled: string[] = []
process.on('unhandledRejection', (reason) => unhandled.push(String(reason)))
process.stdin.once('end', () => process.exit(0)).resume()

const cluster = { clusterId: 'c1', clusterName: 'shop', logIdentity: 'j1' }
const { store, opened } = await openLmdbStore({ path, cluster, log: silentLogger })
print({ opened })

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

function numbered(batch: number, bytes: number): Write[] {
  const value = Buffer.alloc(bytes)
  value.writeUInt32LE(batch)
  return Array.from({ length: 50 }, (_, i) => ({
    table: i % 2 === 0 ? 'record' : 'effect',
    key: `row/${10 + i}`,
    value,
  }))
}

async function commitNumbered(batch: number): Promise<void> {
  // Sizes differ, so that pages split, overflow and come free.
  await store.commit(numbered(batch, 100 + ((batch * 131) % 3000)))
  print({ committed: batch })
}

if (mode === 'commit') {
  // Several commits are always under way.
  for (let batch = 1; ; batch += 3) await Promise.all([batch, batch + 1, batch + 2].map(commitNumbered))
}

if (mode === 'fill') {
  const value = Buffer.alloc(1000)
  const row = (batch: number, i: number): Write => ({ table: 'record', key: `${1000 + batch}/${100 + i}`, value })
  const count = (batch: number): number =>
    [...store.range('record', { from: `${1000 + batch}/`, to: `${1000 + batch}0` })].length
  for (let batch = 0; ; batch++) {
    try {
      await store.commit(Array.from({ length: 100 }, (_, i) => row(batch, i)))
    } catch (error) {
      print({ error, message: String(error), failed: count(batch), previous: count(batch - 1) })
      break
    }
  }
  await store.flushed()
  await store.close()
  await new Promise((resolve) => setTimeout(resolve, 50))
  print({ closed: true, unhandled })
  process.exit(0)
}
