/** A connection to one Carillon cluster. */
import type { Accepted, Contract, ContractShape, CountGroup, GroupBy, InstanceRow } from '@carillon/runtime'
import type { ClusterRecord } from '@carillon/runtime/protocol'

import { changeControls, type ControlPart, namesOf, type PausedParts, readControls } from './controls.ts'
import {
  type DeadLetter,
  type DeadLetterOptions,
  readDeadLetter,
  readDeadLetters,
  redrive,
  type RedriveOptions,
} from './dead-letters.ts'
import { countGroups, type CountOptions } from './count-instances.ts'
import { Journal } from './journal.ts'
import { type InstancePage, listAll, type ListOptions, listPage, type PageOptions } from './list-instances.ts'
import { type QueueRow, readQueues } from './queues.ts'
import type { Session } from './session.ts'
import { type SignalItem, signalMany, type SignalManyOptions, type SignalManyResult } from './signal-many.ts'
import type { AnyShape } from './target.ts'
import { Worker, type WorkerOptions } from './worker.ts'
import { doTask, failureData, type TaskDeedOptions, type TaskFailure } from './tasks.ts'
import { WorkflowHandle } from './workflow-handle.ts'

/** Made by `connect`. It survives reconnects; one is enough for a process. */
export class Carillon {
  readonly #session: Session
  readonly #cluster: ClusterRecord
  readonly #workers = new Set<Worker>()
  /** The journal as it is stored. */
  readonly journal: Journal

  constructor(session: Session, cluster: ClusterRecord) {
    this.#session = session
    this.#cluster = cluster
    this.journal = new Journal(session)
  }

  /** What the cluster's nodes have agreed on. */
  get cluster(): ClusterRecord {
    return this.#cluster
  }

  /**
   * A handle on one instance, which may exist or not. With the name of a type instead of a contract nothing is checked before it is sent.
   *
   * @throws INVALID_ID when the id is none.
   */
  workflow<Shape extends ContractShape>(contract: Contract<Shape>, id: string): WorkflowHandle<Shape>
  workflow(type: string, id: string): WorkflowHandle<AnyShape>
  workflow(workflow: Contract | string, id: string): WorkflowHandle {
    return new WorkflowHandle(this.#session, this.#session.targets.of(workflow, id))
  }

  /**
   * Sends signals from an iterable with many under way, in order per instance; takes items only while there is room.
   *
   * @throws at the first failure, unless `onError` is `collect`: the error has the failed signal's code, names it, and says how far all went.
   */
  signalMany<C extends Contract>(
    items: Iterable<SignalItem<C> & { readonly workflow: C }> | AsyncIterable<SignalItem<C> & { readonly workflow: C }>,
    options: SignalManyOptions = {},
  ): Promise<SignalManyResult> {
    return this.#session.track(() => signalMany(this.#session, items, options))
  }

  /**
   * The instances that a filter is for, by partition, and by type and id within one. Each partition's rows are as of the moment it was read; an
   * instance that is there all along is given once. `where` is typed by the contract, if one is given.
   *
   * @throws NO_NODE, TIMEOUT when the owner of a partition gives no answer, unless `onMissing` is given.
   * @throws CONFIG_INVALID, UNKNOWN_TYPE, UNKNOWN_NAME, INVALID_ATTRIBUTE when the filter makes no sense.
   */
  list<Shape extends ContractShape>(options: ListOptions<Shape> = {}): AsyncIterableIterator<InstanceRow<Shape>> {
    return listAll(this.#session, options) as AsyncIterableIterator<InstanceRow<Shape>>
  }

  /** One page of `list`, and where the next one begins. Throws as `list`. */
  listPage<Shape extends ContractShape>(options: PageOptions<Shape> = {}): Promise<InstancePage<Shape>> {
    return listPage(this.#session, options) as Promise<InstancePage<Shape>>
  }

  /**
   * How many instances a filter is for; with `groupBy` for each type, status, or value of an attribute, the largest group first. Counting by type and
   * status reads no instance. Throws as `list`. @throws LIMIT_REACHED when there are over 1000 groups in a partition.
   */
  count<Shape extends ContractShape>(
    options: CountOptions<Shape> & { readonly groupBy: GroupBy<Shape> },
  ): Promise<readonly CountGroup[]>
  count<Shape extends ContractShape>(options?: CountOptions<Shape> & { readonly groupBy?: undefined }): Promise<number>
  async count(options: CountOptions & { readonly groupBy?: GroupBy | undefined } = {}): Promise<unknown> {
    const groups = await countGroups(this.#session, options, options.groupBy)
    return options.groupBy === undefined ? groups.reduce((sum, { count }) => sum + count, 0) : groups
  }

  /**
   * The inputs that no instance took, in the order in which they were stored, up to their end at the time of the call. After a crash one may be
   * stored twice: both have one `originSeq`.
   *
   * @throws INVALID_ID, CONFIG_INVALID when the options make no sense. @throws TIMEOUT when the server gives no answer.
   */
  deadLetters(options: DeadLetterOptions = {}): AsyncIterableIterator<DeadLetter> {
    return readDeadLetters(this.#session, options)
  }

  /** One dead letter. @throws NOT_FOUND when there is none. @throws TIMEOUT when the server gives no answer. */
  deadLetter(seq: number): Promise<DeadLetter> {
    return readDeadLetter(this.#session, seq)
  }

  /**
   * Sends the input of a dead letter to its instance again, byte for byte, under a new id: `<its id>~<its seq in the journal>`. Doing it twice is a
   * repeat. The letter stays where it is; an input that is refused again makes another one.
   *
   * @throws NOT_FOUND when there is no such letter. @throws CONFIG_INVALID when it is no start, signal or update of an instance. @throws as
   * `WorkflowHandle.signal`.
   */
  redrive(deadSeq: number, options: RedriveOptions = {}): Promise<Accepted> {
    return redrive(this.#session, deadSeq, options)
  }

  /**
   * Pauses a workflow type: on every node its instances take no inputs, those that are created meanwhile included, until `resumeType`. Inputs wait in
   * order; queries are answered. True when it was not paused before.
   *
   * @throws INVALID_ID @throws LIMIT_REACHED when too much is paused already.
   */
  pauseType(type: Contract | string): Promise<boolean> {
    return this.#control({ type: nameOf(type) }, true)
  }

  /** Lets the instances of a type go on, each where it stands. True when it was paused. */
  resumeType(type: Contract | string): Promise<boolean> {
    return this.#control({ type: nameOf(type) }, false)
  }

  /** Pauses an activity of a type: nobody begins one until `resumeActivity`; attempts that run go on. Returns and throws as `pauseType`. */
  pauseActivity(type: Contract | string, activity: string): Promise<boolean> {
    return this.#control({ type: nameOf(type), activity }, true)
  }

  /** Lets an activity go on. True when it was paused. */
  resumeActivity(type: Contract | string, activity: string): Promise<boolean> {
    return this.#control({ type: nameOf(type), activity }, false)
  }

  /** The types and activities that are paused. */
  paused(): Promise<PausedParts> {
    return this.#session.track(async () => {
      const { state } = await readControls(await this.#session.jetStream(), this.#session.subjects)
      return namesOf(state)
    })
  }

  /**
   * Completes the task of this token (`ctx.task`): its result is the value. Resolves when that is applied.
   *
   * @throws CLOSED when it is not open any more, or its instance has closed. @throws NOT_FOUND when it is no token of this cluster, or there is no such
   * instance. @throws INVALID_PAYLOAD when its contract refuses the value; it stays open. @throws INVALID_ID when this is no token at all: nothing was
   * sent. @throws TIMEOUT, NO_NODE, NOT_ACKNOWLEDGED as `WorkflowHandle.signal`.
   */
  completeTask(token: string, value?: unknown, options: TaskDeedOptions = {}): Promise<Accepted> {
    return doTask(this.#session, token, 'complete', value, options)
  }

  /** Fails the task of this token: its result rejects with TASK_FAILED, and the error as `details`. Throws as `completeTask`. */
  failTask(token: string, error: TaskFailure, options: TaskDeedOptions = {}): Promise<Accepted> {
    return doTask(this.#session, token, 'fail', failureData(error), options)
  }

  /** Tells that somebody still works on the task of this token: the time that its `heartbeat` gives begins anew. Throws as `completeTask`. */
  heartbeatTask(token: string, options: TaskDeedOptions = {}): Promise<Accepted> {
    return doTask(this.#session, token, 'heartbeat', undefined, options)
  }

  /**
   * Starts a worker: it runs the activities of one queue in this process until it is closed, or this client is.
   *
   * @throws INVALID_DEFINITION when none of the activities is of the queue. @throws CONFIG_INVALID when the options make no sense.
   * @throws CLUSTER_MISMATCH when the cluster has no work queue: start a node of this release.
   */
  async worker(options: WorkerOptions): Promise<Worker> {
    const worker = await Worker.open(this.#session, options)
    this.#workers.add(worker)
    return worker
  }

  /**
   * The calls that wait for remote workers, or are with them, by queue and activity.
   *
   * @throws CLUSTER_MISMATCH when the cluster has no work queue.
   */
  queues(): Promise<readonly QueueRow[]> {
    return this.#session.track(() => readQueues(this.#session))
  }

  /** Undefined while there is room for more inputs, else a promise of it: a sender of many awaits it between calls. */
  ready(): Promise<void> | undefined {
    return this.#session.ready()
  }

  /**
   * Closes its workers, takes nothing more, waits until what was sent is acknowledged (at most the publisher's retry budget of 30 s), and disconnects. Calls that
   * wait for an outcome reject with CLOSING. Safe to call again.
   */
  async close(): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.close()))
    await this.#session.close()
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #control(part: ControlPart, isPaused: boolean): Promise<boolean> {
    return this.#session.track(async () =>
      changeControls(await this.#session.jetStream(), this.#session.subjects, part, isPaused),
    )
  }
}

function nameOf(type: Contract | string): string {
  return typeof type === 'string' ? type : type.name
}
