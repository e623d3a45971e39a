/**
 * One suite, several backends: a test world in memory, the same one crashing after every turn, and a real nats-server with a node and a client.
 *
 * Invariants
 * 1. Each test opens its own world: on the server, a namespace of its own.
 * 2. When a test ends, whatever it opened is closed.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect } from '@carillon/client'
import { type NatsProcess, openNatsProcess, openNode } from '@carillon/node'
import {
  type ActivityImplementations,
  type Contract,
  type ContractShape,
  type Duration,
  type Implementation,
  type InstanceRow,
  toMs,
} from '@carillon/runtime'
import { silentLogger } from '@carillon/runtime/ports'
import { encodeToken, Subjects } from '@carillon/runtime/protocol'
import { type InstanceHandle, type ListOptions, TestWorld, type TestWorldOptions } from '@carillon/runtime/testing'
import { connect as connectNats, headers as createHeaders } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, describe, vi } from 'vitest'

import { provideNatsServer } from '../../../../scripts/nats-server.mjs'

/** What a suite runs. A test may open it with others in their place: activities that it looks into, a shorter deadline. */
export interface Setup {
  readonly workflows: readonly Implementation[]
  readonly activities: readonly ActivityImplementations[]
}

export interface SuiteSetup extends Setup {
  /** More lines of nats-server configuration. */
  readonly natsConfig?: string
  /** In memory: how long time stands still for an attempt of an activity, in milliseconds of the host. For suites whose activities wait for time. */
  readonly activityPatienceMs?: number
}

/** What a test sees of the world that it opened, whichever it is. */
export interface Backend {
  readonly kind: 'memory' | 'server'
  /** The server's URL; empty in memory. */
  readonly url: string
  readonly namespace: string
  workflow<Shape extends ContractShape>(contract: Contract<Shape>, id: string): InstanceHandle<Shape>
  list<Shape extends ContractShape>(options: ListOptions<Shape>): AsyncIterable<InstanceRow<Shape>>
  count<Shape extends ContractShape>(options: ListOptions<Shape>): Promise<number>
  /** Publishes JSON on the public door, as any NATS client may. Resolves when it is durable. */
  publish(
    contract: Contract,
    id: string,
    signal: string,
    value: unknown,
    headers?: Record<string, string>,
  ): Promise<void>
  /** Completes the task of a token. */
  completeTask(token: string, value: unknown): Promise<unknown>
  /** Waits until the condition holds, in the world's time: in memory none of the host's passes. Default 10 s. */
  until(condition: () => boolean | Promise<boolean>, timeout?: Duration): Promise<void>
}

export type OpenBackend = (setup?: Partial<Setup>) => Promise<Backend>

const UNTIL = '10 seconds'

/** Declares the suite once for each backend. `open` is to be called inside a test. */
export function describeOnBothBackends(name: string, setup: SuiteSetup, suite: (open: OpenBackend) => void): void {
  describe(`${name}, in memory`, () => {
    suite(inMemory(setup, false))
  })
  describe(`${name}, in memory with a crash after every turn`, () => {
    suite(inMemory(setup, true))
  })
  describe(`${name}, on a nats-server`, () => {
    suite(onServer(setup))
  })
}

function inMemory(setup: SuiteSetup, crashBetweenTurns: boolean): OpenBackend {
  const close = closedAfterEach()
  return async (overrides = {}) => {
    const world = await TestWorld.open({ ...withoutServer(setup), ...overrides, crashBetweenTurns })
    close.push(() => world.close())
    const subjects = new Subjects('carillon', 1)
    return {
      kind: 'memory',
      url: '',
      namespace: subjects.namespace,
      workflow: (contract, id) => world.workflow(contract, id),
      list: (options) => world.list(options),
      count: (options) => world.count(options),
      publish: async (contract, id, signal, value, headers) =>
        world.publish(doorOf(subjects, contract, id, signal), JSON.stringify(value), headers),
      completeTask: (token, value) => world.completeTask(token, value),
      until: (condition, timeout = UNTIL) => world.until(condition, timeout),
    }
  }
}

function withoutServer({ workflows, activities, activityPatienceMs }: SuiteSetup): TestWorldOptions {
  return { workflows, activities, ...(activityPatienceMs === undefined ? {} : { activityPatienceMs }) }
}

function onServer(setup: SuiteSetup): OpenBackend {
  let folder: string
  let nats: NatsProcess
  let opened = 0
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'carillon-examples-'))
    const { path } = await provideNatsServer()
    const config = setup.natsConfig === undefined ? {} : { config: setup.natsConfig }
    nats = await openNatsProcess({ path, storeDir: join(folder, 'nats'), ...config })
  })
  afterAll(async () => {
    await nats.kill9()
    await rm(folder, { recursive: true, force: true })
  })
  // Registered behind `afterAll` and run before it.
  const close = closedAfterEach()
  return async ({ workflows = setup.workflows, activities = setup.activities } = {}) => {
    opened += 1
    const namespace = `test${opened}`
    const node = await openNode({
      servers: nats.url,
      namespace,
      dataDir: join(folder, namespace),
      workflows: { implementations: workflows, activities },
      logger: silentLogger,
      partitions: 8,
    })
    close.push(() => node.close())
    const carillon = await connect({ servers: nats.url, namespace })
    close.push(() => carillon.close())
    const nc = await connectNats({ servers: nats.url })
    close.push(() => nc.close())
    await node.caughtUp
    const { subjects } = node
    return {
      kind: 'server',
      url: nats.url,
      namespace,
      workflow: (contract, id) => carillon.workflow(contract, id),
      list: (options) => carillon.list(options),
      count: (options) => carillon.count(options),
      async publish(contract, id, signal, value, headers = {}) {
        const own = createHeaders()
        for (const [key, text] of Object.entries(headers)) own.set(key, text)
        await nc.request(doorOf(subjects, contract, id, signal), JSON.stringify(value), { timeout: 5000, headers: own })
      },
      completeTask: (token, value) => carillon.completeTask(token, value),
      until: (condition, timeout = UNTIL) =>
        vi.waitFor(
          async () => {
            if (!(await condition())) throw new Error(`the condition did not hold: ${condition.toString()}`)
          },
          { timeout: toMs(timeout), interval: 10 },
        ),
    }
  }
}

function doorOf(subjects: Subjects, contract: Contract, id: string, signal: string): string {
  return subjects.door(encodeToken(contract.name), encodeToken(id), encodeToken(signal))
}

/** What is pushed is run after the test, last first. */
function closedAfterEach(): (() => Promise<void>)[] {
  const closers: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close()
  })
  return closers
}
