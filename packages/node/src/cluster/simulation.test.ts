/** Coordinators in virtual time (`testing/simulated-cluster.ts`): what holds whatever goes wrong, over seeds. */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'

import { type Change, Simulation, type SimulatedNode, type SimulationOptions } from '../testing/simulated-cluster.ts'
import { CONTRADICTED_MS, SERVER_LOSS_MS, SILENCE_MS } from './cluster-timing.ts'

/** More of them by `CARILLON_SIM_RUNS=2000`. A failure prints its seed: `CARILLON_SIM_SEED=5 vitest run … -t '<title>'` is that run alone, with what the nodes say. */
vi.setConfig({ testTimeout: 600_000 })
const RUNS = Number(process.env['CARILLON_SIM_RUNS'] ?? 25)
const SEED = process.env['CARILLON_SIM_SEED']
const log = SEED === undefined ? undefined : (line: string): void => console.log(line)
/** From the end of the last fault until every partition is served: the longest verdict, once again for a late write, a backoff, following and promoting. */
const SERVED_MS_MAX = CONTRADICTED_MS + SERVER_LOSS_MS + 9000

/** What is promised to operators, whatever the time-outs are made of. */
const STABLE_MS = 30_000

const seeds = fc.integer({ min: 0, max: 2 ** 31 })
const holds = (body: (seed: number) => void, share = 1): void => {
  if (SEED !== undefined) return body(Number(SEED))
  fc.assert(fc.property(seeds, body), { numRuns: Math.ceil(RUNS * share), endOnFailure: true })
}

/** A cluster in which every partition is served where it belongs. */
function settled(options: SimulationOptions & { nodes?: number }): Simulation {
  const { nodes = 3, ...rest } = options
  const world = new Simulation({ ...rest, log })
  for (let i = 0; i < nodes; i++) {
    world.start(`n${i}`)
    world.run(world.random() * 500)
  }
  expect(
    world.runUntil(() => world.isServed() && world.isBalanced(), 60_000),
    'the cluster settles',
  ).toBeDefined()
  return world
}

const pick = <T>(world: Simulation, all: readonly T[]): T => all[Math.floor(world.random() * all.length)] as T
const running = (world: Simulation): readonly SimulatedNode[] => world.nodes.filter(({ isRunning }) => isRunning)
const since = (world: Simulation, atMs: number): readonly Change[] =>
  world.changes.filter((change) => change.atMs >= atMs)

/** What must hold in every run, whatever happened. */
function expectSound(world: Simulation, staleMsMax = 500): void {
  const epochs = new Map<number, number>()
  for (const { partition, after } of world.changes) {
    expect(after.epoch, `the epoch of partition ${partition} rises`).toBeGreaterThan(epochs.get(partition) ?? 0)
    epochs.set(partition, after.epoch)
  }
  for (const [epoch, owners] of world.promoted)
    expect([...owners], `owners in partition/epoch ${epoch}`).toHaveLength(1)
  for (const { staleMs, atOnce } of world.moves) {
    // What is known of a successor is as old as its last beat.
    expect(staleMs, 'since the successor had caught up').toBeLessThanOrEqual(staleMsMax)
    expect(atOnce).toBeLessThanOrEqual(4)
  }
}

/** Any fault that there is. */
function disturb(world: Simulation): void {
  const faults: readonly (() => void)[] = [
    () => pick(world, running(world)).kill(),
    () => pick(world, running(world)).freeze(world.random() * 8000),
    () => pick(world, running(world)).starve(world.random() * 3000),
    () => pick(world, running(world)).coordinator.drain(world.nowMs),
    () => void world.start(`n${Math.floor(world.random() * 6)}`),
    () => world.killServer(world.anyServer() ?? 's0', world.random() * 10_000),
    () => world.freezeServer(world.anyServer() ?? 's0', world.random() * 8000),
    () => world.cutOff([world.anyServer() ?? 's0'], world.random() < 0.5),
    () => world.cutOff([], false),
    () => world.loseLeader(),
    () => world.elect(),
  ]
  if (running(world).length === 0) world.start('n0')
  const fault = pick(world, faults)
  log?.(`${world.nowMs.toFixed(0)} fault: ${fault.toString()}`)
  fault()
}

/** Ends all faults, but for the nodes that are gone for good. */
function heal(world: Simulation): void {
  for (const server of ['s0', 's1', 's2']) world.restartServer(server)
  world.cutOff([], false)
  world.elect()
  for (const node of running(world)) {
    node.starve(0)
    node.wakeUp()
    node.coordinator.asked({ op: 'resume' }, world.nowMs)
  }
  if (running(world).length === 0) world.start('n9')
}

describe('a simulated cluster', () => {
  it('has one owner an epoch, epochs that rise, and every partition served within a stated time after any faults', () => {
    holds((seed) => {
      const world = new Simulation({ seed, loss: 0.05, delayMsMax: 50, log })
      for (let i = 0; i < 3; i++) world.start(`n${i}`)
      for (let i = 0; i < 12; i++) {
        world.leaderless = pick(world, ['refused', 'lost', 'late'] as const)
        world.run(world.random() * 4000)
        disturb(world)
      }
      heal(world)
      expect(
        world.runUntil(() => world.isServed(), SERVED_MS_MAX),
        `served again, seed ${seed}`,
      ).toBeDefined()
      expectSound(world, 10_000)
      const balancedMs = world.runUntil(() => world.isBalanced(), 120_000)
      log?.(world.summary())
      expect(balancedMs, `balanced again, seed ${seed}`).toBeDefined()
      expectSound(world, 10_000)
    })
  })

  it('goes on with the partitions of a killed node within a second, and of a frozen one within three', () => {
    holds((seed) => {
      const world = settled({ seed })
      const node = pick(world, running(world))
      const isFrozen = world.random() < 0.5
      if (isFrozen) node.freeze(20_000)
      else node.kill()
      const taken = (): boolean => [...world.records.values()].every(({ record }) => record.node !== node.name)
      const tookMs = world.runUntil(taken, 10_000)
      expect(tookMs).toBeLessThan(isFrozen ? SILENCE_MS + 1000 : 1000)
      expectSound(world)
    })
  })

  it('changes nothing while nothing happens', () => {
    holds((seed) => {
      const world = settled({ seed, loss: 0.02 })
      const fromMs = world.nowMs
      world.run(60_000)
      expect(since(world, fromMs)).toEqual([])
    })
  })

  it('takes nothing from a healthy node while JetStream has no leader', () => {
    holds((seed) => {
      const world = settled({ seed })
      const fromMs = world.nowMs
      world.leaderless = pick(world, ['refused', 'lost', 'late'] as const)
      world.loseLeader()
      world.run(10_000)
      world.elect()
      world.run(20_000)
      expect(since(world, fromMs)).toEqual([])
      expect(world.isServed()).toBe(true)
    })
  })

  it('takes nothing from healthy nodes when a NATS server dies and its clients are back within 5 s', () => {
    holds((seed) => {
      const world = settled({ seed })
      const fromMs = world.nowMs
      world.killServer(pick(world, ['s0', 's1', 's2']), 5000)
      world.run(30_000)
      expect(since(world, fromMs)).toEqual([])
      expect(world.isServed()).toBe(true)
    })
  })

  it('takes nothing from healthy nodes for one whose own NATS server is frozen', () => {
    holds((seed) => {
      const world = settled({ seed, nodes: 2 })
      const judge = pick(world, running(world))
      const other = running(world).find((node) => node !== judge)
      world.freezeServer(judge.server ?? 's0', 8000)
      // Both on one server: nobody can say anything about anybody.
      const fromMs = world.nowMs
      world.run(40_000)
      const lost = since(world, fromMs).filter(({ before, by }) => before?.node === other?.name && by === judge.name)
      if (other?.server !== judge.server) expect(lost).toEqual([])
      expectSound(world)
    })
  })

  it('moves each partition of a node without enough CPU away once, and nothing back within 30 s', () => {
    holds((seed) => {
      const world = settled({ seed })
      const node = pick(world, running(world))
      const fromMs = world.nowMs
      node.starve(2500 + world.random() * 2000)
      world.run(90_000)
      const changes = since(world, fromMs)
      for (const { partition, atMs } of changes) {
        const soon = changes.filter(
          (other) => other.partition === partition && other.atMs >= atMs && other.atMs < atMs + STABLE_MS,
        )
        expect(soon, `changes of partition ${partition} within 30 s, seed ${seed}`).toHaveLength(1)
      }
    })
  })

  it('gives a node that was away nothing back before it has been stable for 30 s, and its share then', () => {
    holds((seed) => {
      const world = settled({ seed })
      const node = pick(world, running(world))
      const awayMs = pick(world, [6000, 45_000])
      node.freeze(awayMs)
      world.run(awayMs - 100)
      const backMs = world.nowMs
      world.run(STABLE_MS - 1500)
      expect(since(world, backMs).filter(({ after }) => after.node === node.name)).toEqual([])
      expect(world.runUntil(() => world.isBalanced(), 30_000)).toBeDefined()
      expectSound(world)
    })
  })

  it('gives a node that joins its share once it has caught up, and never serves a partition twice or not at all for long', () => {
    holds((seed) => {
      const world = settled({ seed, nodes: 2, followMsMax: 8000 })
      world.start('joins')
      for (let i = 0; i < 40 || !world.isBalanced(); i++) {
        for (let j = 0; j < 25; j++) {
          world.run(20)
          expect(world.unservedMs()).toBeLessThan(400)
        }
        expect(i, 'half seconds until it has its share').toBeLessThan(200)
      }
      expect(world.overlaps).toEqual([])
      expectSound(world)
    })
  })

  it('moves no partition twice within 30 s, however many nodes join', () => {
    holds((seed) => {
      const world = settled({ seed, nodes: 2 })
      world.run(STABLE_MS)
      const fromMs = world.nowMs
      for (let i = 2; i < 6; i++) {
        world.start(`n${i}`)
        world.run(5000 + world.random() * 5000)
      }
      world.run(60_000)
      const changes = since(world, fromMs)
      expect(changes.length).toBeGreaterThan(0)
      for (const { partition, atMs } of changes) {
        const again = changes.filter((other) => other.partition === partition && other.atMs > atMs)
        for (const other of again) expect(other.atMs - atMs).toBeGreaterThanOrEqual(STABLE_MS - 1000)
      }
    }, 0.2)
  })

  it('drains a node: everything is given away, to standbys that have caught up, without a second owner', () => {
    holds((seed) => {
      const standbys = pick(new Simulation({ seed }), [0, 1, 2])
      const world = settled({ seed, standbys })
      const node = pick(world, running(world))
      node.coordinator.drain(world.nowMs)
      expect(world.runUntil(() => node.coordinator.owned === 0 && world.isServed(), 15_000)).toBeDefined()
      expect(world.overlaps).toEqual([])
      expectSound(world)
    })
  })

  it('lets two nodes that a cut network keeps apart take from each other less and less', () => {
    holds((seed) => {
      const world = settled({ seed, nodes: 2 })
      // They do not hear each other, and both reach JetStream.
      world.silence('n0', 'n1')
      world.run(60_000)
      const fromMs = world.nowMs
      world.run(120_000)
      for (let p = 0; p < 8; p++) {
        const changes = since(world, fromMs).filter(({ partition }) => partition === p)
        expect(changes.length, `changes of partition ${p}, seed ${seed}`).toBeLessThanOrEqual(4)
      }
    })
  })

  it('serves everything at once when a node is alone', () => {
    holds((seed) => {
      const world = new Simulation({ seed, delayMsMax: 1, log })
      world.start('only', { isAlone: true })
      const tookMs = world.runUntil(() => [...world.records].length === 8, 1000)
      expect(tookMs).toBeLessThanOrEqual(150)
      expect(world.runUntil(() => world.isServed(), 5000)).toBeDefined()
    })
  })

  it('serves everything at once when a lone node comes back under its name, without waiting for its earlier life', () => {
    holds((seed) => {
      const world = new Simulation({ seed, delayMsMax: 1, log })
      world.start('only', { isAlone: true })
      world.run(10_000)
      for (const node of running(world)) node.kill()
      world.start('only', { isAlone: true })
      expect(
        world.runUntil(() => [...world.records.values()].every(({ record }) => record.incarnation === 'only#2'), 150),
      ).toBeDefined()
    })
  })

  it('lets the later one of two nodes under one name go on', () => {
    holds((seed) => {
      const world = settled({ seed })
      world.run(1000)
      const first = pick(world, running(world))
      const second = world.start(first.name)
      expect(world.runUntil(() => !first.isRunning, 5000)).toBeDefined()
      expect(second.isRunning).toBe(true)
      expect(world.runUntil(() => world.isServed(), SERVED_MS_MAX)).toBeDefined()
      expectSound(world)
    })
  })
})
