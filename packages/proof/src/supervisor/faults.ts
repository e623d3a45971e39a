/** What is done to a cluster under load. Each fault brings about one thing, makes sure that it came about, and heals it. */
import {
  closeSync,
  cpSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { type Failpoint, FAILPOINTS } from '@carillon/runtime/engine'

import type { Dice } from '../reference/random.ts'
import type { CarillonProcess } from './carillon-process.ts'
import { type Cluster, NAMESPACE } from './cluster.ts'
import { holdsWithin } from './wait-until.ts'

export interface Fault {
  readonly name: string
  /** How many nats-servers it takes; undefined: as many as there are. */
  readonly servers?: 1 | 3
  /** Left out where the system does not allow it. */
  readonly isPossible?: (cluster: Cluster) => boolean
  /** @throws when what it wanted to bring about was not seen. */
  readonly inject: (cluster: Cluster, dice: Dice) => Promise<void>
}

/** Longer than every time-out of the cluster. */
const LONG_FREEZE_MS = { min: 4500, max: 7000 }
const SHORT_FREEZE_MS = { min: 200, max: 1200 }
const JOURNAL = `${NAMESPACE}-log`
const UP_MS_MAX = 30_000
const FAILPOINT_MS_MAX = 20_000
const DISK_MS_MAX = 20_000
/** What a node, and the LMDB in it, say of a full disk. */
const FULL = /STORAGE_FAILED|ENOSPC|No space left on device|^Error: Input\/output error|^ {4}at |^ {2}code: |^[{}]$/
const BALLAST = 'ballast'
const BLOCK_BYTES = 64 * 1024
/** How often a point is reached in a second of load differs: kills come within a second or two. */
const FAILPOINT_COUNTS: Readonly<Partial<Record<Failpoint, number>>> = {
  'after-apply': 100,
  'after-emit': 40,
  'before-append': 30,
  'after-append': 30,
}
const FAILPOINT_COUNT_DEFAULT = 8

export const FAULTS: readonly Fault[] = [
  {
    name: 'kill one that serves',
    inject: async (cluster, dice) => restart(cluster, [await serving(cluster, dice)], dice),
  },
  {
    name: 'kill one that stands by',
    inject: async (cluster, dice) =>
      restart(cluster, [dice.pick(cluster.nodes.filter((node) => !node.isReady)) ?? dice.pick(cluster.nodes)], dice),
  },
  { name: 'kill two', inject: async (cluster, dice) => restart(cluster, dice.shuffle(cluster.nodes).slice(1), dice) },
  { name: 'kill all', inject: async (cluster, dice) => restart(cluster, cluster.nodes, dice) },
  {
    name: 'kill the worker',
    async inject({ worker }, dice) {
      await worker.kill()
      await delay(dice.between(0, 500))
      worker.start()
    },
  },
  { name: 'freeze short', inject: (cluster, dice) => freeze(cluster, dice, SHORT_FREEZE_MS) },
  { name: 'freeze long', inject: (cluster, dice) => freeze(cluster, dice, LONG_FREEZE_MS) },
  ...FAILPOINTS.filter((point) => point !== 'in-restore').map((point): Fault => ({
    name: `kill at ${point}`,
    inject: (cluster, dice) =>
      killAt(cluster, dice, `${point}:${dice.between(1, FAILPOINT_COUNTS[point] ?? FAILPOINT_COUNT_DEFAULT)}`),
  })),
  {
    name: 'kill at in-restore',
    isPossible: ({ recorder }) => recorder.isTrimmed,
    inject: async (cluster, dice) => killInRestore(cluster, await serving(cluster, dice)),
  },
  {
    name: 'all data removed',
    async inject(cluster) {
      await Promise.all(cluster.nodes.map((node) => node.kill()))
      for (const node of cluster.nodes) empty(cluster.dataDir(node))
      await Promise.all(cluster.nodes.map((node) => startAgain(node, cluster)))
    },
  },
  {
    name: 'rolling restart',
    async inject(cluster) {
      for (const node of cluster.nodes) {
        await node.stop()
        await startAgain(node, cluster)
      }
    },
  },
  { name: 'data removed', inject: (cluster, dice) => damage(cluster, dice, (path) => empty(dirname(path))) },
  {
    name: 'data truncated',
    inject: (cluster, dice) =>
      damage(cluster, dice, (path) => truncateSync(path, Math.floor(statSync(path).size * dice.roll()))),
  },
  {
    name: 'data zeroed',
    inject: (cluster, dice) => damage(cluster, dice, (path) => overwrite(path, dice, () => 0)),
  },
  {
    name: 'data bits flipped',
    inject: (cluster, dice) =>
      damage(cluster, dice, (path) => overwrite(path, dice, (byte) => byte ^ (1 << dice.between(0, 7)))),
  },
  { name: 'data replaced by an older copy', inject: replaceByOlder },
  { name: 'disk full', isPossible: ({ smallDisk }) => smallDisk !== undefined, inject: fillDisk },
  { name: 'nats-server killed', servers: 1, inject: (cluster, dice) => killServer(cluster, dice.between(0, 1500)) },
  { name: 'nats-server frozen', servers: 1, inject: (cluster, dice) => freezeServer(cluster, dice.between(500, 4000)) },
  { name: 'leader killed', servers: 3, inject: (cluster, dice) => killServer(cluster, dice.between(0, 6000)) },
  { name: 'leader frozen', servers: 3, inject: (cluster, dice) => freezeServer(cluster, dice.between(1000, 9000)) },
  { name: 'leader stepped down', servers: 3, inject: ({ servers }) => servers.stepDown(JOURNAL) },
]

async function killServer({ servers }: Cluster, downMs: number): Promise<void> {
  const leader = await servers.leaderOf(JOURNAL)
  await leader.kill9()
  await delay(downMs)
  await leader.restart()
}

async function freezeServer({ servers }: Cluster, frozenMs: number): Promise<void> {
  const leader = await servers.leaderOf(JOURNAL)
  leader.freeze()
  await delay(frozenMs)
  leader.thaw()
}

async function serving(cluster: Cluster, dice: Dice): Promise<CarillonProcess> {
  await holdsWithin(UP_MS_MAX * cluster.patience, () => cluster.serving.length > 0)
  return dice.pick(cluster.serving.length > 0 ? cluster.serving : cluster.nodes)
}

async function startAgain(node: CarillonProcess, { patience }: Cluster): Promise<void> {
  node.start()
  if (!(await holdsWithin(UP_MS_MAX * patience, () => node.isUp))) throw new Error(`${node.name} did not come up again`)
}

async function restart(cluster: Cluster, nodes: readonly CarillonProcess[], dice: Dice): Promise<void> {
  await Promise.all(nodes.map((node) => node.kill()))
  await delay(dice.chance(0.5) ? 0 : dice.between(0, 2500))
  await Promise.all(nodes.map((node) => startAgain(node, cluster)))
}

async function freeze(cluster: Cluster, dice: Dice, { min, max }: { min: number; max: number }): Promise<void> {
  const node = await serving(cluster, dice)
  if (!(await node.freeze())) throw new Error(`${node.name} did not stop`)
  await delay(dice.between(min, max))
  node.thaw()
}

async function killAt(cluster: Cluster, dice: Dice, order: string): Promise<void> {
  const node = await serving(cluster, dice)
  const file = cluster.failpointFile(node)
  node.expect(({ signal }) => signal === 'SIGKILL')
  writeFileSync(file, order)
  const isReached = await holdsWithin(FAILPOINT_MS_MAX * cluster.patience, () => !node.isRunning)
  rmSync(file)
  if (!isReached) {
    await node.kill()
    await startAgain(node, cluster)
    throw new Error(`${node.name} did not reach ${order}`)
  }
  await startAgain(node, cluster)
}

/** A node without data, which the journal alone cannot bring back, dies while it is given the snapshots. */
async function killInRestore(cluster: Cluster, node: CarillonProcess): Promise<void> {
  const file = cluster.failpointFile(node)
  await node.kill()
  empty(cluster.dataDir(node))
  writeFileSync(file, 'in-restore:1')
  node.start()
  node.expect(({ signal }) => signal === 'SIGKILL')
  const isReached = await holdsWithin(UP_MS_MAX * cluster.patience, () => !node.isRunning)
  rmSync(file)
  if (!isReached) throw new Error(`${node.name} restored nothing`)
  await startAgain(node, cluster)
}

/** While the node is down. */
async function damage(cluster: Cluster, dice: Dice, change: (dataFile: string) => void): Promise<void> {
  const node = await serving(cluster, dice)
  await node.kill()
  change(join(cluster.dataDir(node), 'data.mdb'))
  await startAgain(node, cluster)
}

async function replaceByOlder(cluster: Cluster, dice: Dice): Promise<void> {
  const node = await serving(cluster, dice)
  const [dataDir, copy] = [cluster.dataDir(node), join(cluster.folder, 'older-copy')]
  await node.kill()
  cpSync(dataDir, copy, { recursive: true })
  await startAgain(node, cluster)
  await delay(dice.between(500, 2000))
  await node.kill()
  for (const name of ['data.mdb', 'lock.mdb']) cpSync(join(copy, name), join(dataDir, name), { force: true })
  rmSync(copy, { recursive: true })
  await startAgain(node, cluster)
}

/** The folder itself may be a mount. */
function empty(folder: string): void {
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true })
}

/** Pages in the middle of the file. */
function overwrite(path: string, dice: Dice, change: (byte: number) => number): void {
  const file = openSync(path, 'r+')
  const size = statSync(path).size
  const length = Math.min(BLOCK_BYTES, size)
  const at = Math.floor(dice.roll() * (size - length))
  const block = Buffer.alloc(length)
  readSync(file, block, 0, length, at)
  writeSync(file, block.map(change), 0, length, at)
  closeSync(file)
}

/** The disk is filled under the running node. It ends and says why; once there is room, it is started again. */
async function fillDisk(cluster: Cluster): Promise<void> {
  const node = cluster.smallDisk
  if (node === undefined) return
  // So that it is the one that serves: it has to write.
  for (const other of cluster.nodes) if (other !== node) await other.stop()
  await holdsWithin(UP_MS_MAX * cluster.patience, () => node.isReady)
  const ballast = join(cluster.dataDir(node), BALLAST)
  node.allow(FULL)
  node.expect(({ code }) => code === 7)
  fill(ballast)
  const isSeen = await holdsWithin(DISK_MS_MAX * cluster.patience, () => !node.isRunning)
  rmSync(ballast)
  if (!isSeen) await node.kill()
  node.allow(undefined)
  await Promise.all(cluster.nodes.map((one) => startAgain(one, cluster)))
  if (!isSeen) throw new Error('the node did not notice that its disk is full')
}

function fill(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(BLOCK_BYTES, 1))
  } catch {
    // There is no room left: that was asked for.
  } finally {
    closeSync(file)
  }
}
