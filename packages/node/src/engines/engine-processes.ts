/**
 * The engines of a node, each in a process of its own. Partition p is with engine p mod their number; they share nothing but the machine.
 *
 * Processes, and not threads of this one: a thread that is ended, or runs out of memory, in the wrong place takes its process with it (ARCHITECTURE.md).
 *
 * Owns: the lock of the data folder, the processes, and the one that is kept ready to take another's place.
 * Does not own: the connection of the node, and which partitions it has.
 */
import { CarillonError } from '@carillon/runtime'
import type { EngineCounts, EngineLoad, HostedPartition } from '@carillon/runtime/engine'
import type { Logger } from '@carillon/runtime/ports'
import type { Partition } from '@carillon/runtime/protocol'

import type { WorkflowSummary } from '../cli/dev-message.ts'
import type { HostOptions } from '../compose-host.ts'
import { requireRoom } from '../data-room.ts'
import { type DirectoryLock, lockDirectory } from '../directory-lock.ts'
import type { NodeHost, RemoteStatus } from '../node-host.ts'
import { allFolders, arrangedFor, engineFolder, engineOf, noteArranged } from './engine-folders.ts'
import type { EngineBuild, EngineSettings } from './engine-messages.ts'
import { EngineProcess } from './engine-process.ts'
import { addCounts, EngineSlot } from './engine-slot.ts'

/** Modules that take longer wait for something that does not come. */
const LOAD_MS_MAX = 60_000
const SPARE_AFTER_MS = 1000

export interface EngineProcessesOptions {
  readonly engines: number
  readonly dataDir: string
  readonly settings: EngineSettings
  /** Keeps one process more, which has loaded the workflows and can take the place of another at once. */
  readonly hasSpare: boolean
  readonly logger: Logger
  readonly loadMsMax?: number
}

export class EngineProcesses implements NodeHost {
  readonly workflows: readonly WorkflowSummary[]
  readonly #options: EngineProcessesOptions
  readonly #lock: DirectoryLock
  #first: readonly EngineProcess[]
  #slots: readonly EngineSlot[] = []
  #spare: Promise<EngineProcess> | undefined
  readonly #all: Set<EngineProcess>
  #host: HostOptions | undefined
  #isClosing = false
  #closing: Promise<void> | undefined

  private constructor(
    options: EngineProcessesOptions,
    lock: DirectoryLock,
    first: readonly EngineProcess[],
    { workflows }: EngineBuild,
  ) {
    this.#options = options
    this.#lock = lock
    this.#first = first
    this.#all = new Set(first)
    this.workflows = workflows
  }

  /**
   * Locks the data folder, starts the processes, and loads the workflows in each.
   *
   * @throws DATA_IN_USE, STORAGE_FAILED, and what loading and connecting say: CONFIG_INVALID, INVALID_DEFINITION, SERVER_UNREACHABLE, …
   */
  static async load(options: EngineProcessesOptions): Promise<EngineProcesses> {
    const { dataDir, engines } = options
    requireRoom(dataDir)
    const lock = await lockDirectory(dataDir)
    const processes = Array.from({ length: engines }, () => startProcess(options, lock))
    try {
      const [build] = await Promise.all(processes.map((process) => loadInto(process, options)))
      if (build === undefined) throw new RangeError('a node has one engine at least')
      return new EngineProcesses(options, lock, processes, build)
    } catch (error) {
      await endAll(processes)
      lock.release()
      throw error
    }
  }

  /** As `OpenHost`: what it gives is this. */
  readonly open = async (options: HostOptions): Promise<NodeHost> => {
    this.#host = options
    return this
  }

  async start(): Promise<void> {
    if (this.#host === undefined) throw new RangeError('the engines are opened before they are started')
    const { record, partitions, onFailed, limits, name, node, checkpoints, history } = this.#host
    const { engines, dataDir, logger, settings } = this.#options
    await this.#arrange(record)
    this.#slots = this.#first.map(
      (_, engine) =>
        new EngineSlot({
          order: {
            engine: engines === 1 ? undefined : engine,
            record,
            dataDir: engineFolder(dataDir, engine),
            limits,
            name,
            node,
            checkpoints,
            history,
          },
          turnMsMax: settings.guard.turnMsMax,
          take: () => this.#take(),
          logger,
          onFailed,
        }),
    )
    await Promise.all(
      this.#slots.map(async (slot, engine) => {
        const process = this.#first[engine]
        const own = partitions.filter((partition) => engineOf(partition, engines) === engine)
        if (process !== undefined) await slot.start(process, own)
      }),
    )
    this.#first = []
    // What is needed now comes before what may be needed.
    setTimeout(() => this.#prepareSpare(), SPARE_AFTER_MS).unref()
  }

  get caughtUp(): Promise<void> {
    return Promise.all(this.#slots.map(({ caughtUp }) => caughtUp)).then(() => undefined)
  }

  get counts(): EngineCounts {
    return this.#slots.reduce<EngineCounts>((sum, { counts }) => addCounts(sum, counts) ?? sum, { ...NO_COUNTS })
  }

  get load(): EngineLoad {
    const loads = this.#statuses.map(({ load }) => load)
    return {
      position: loads.length < this.#slots.length ? 0 : Math.min(...loads.map(({ position }) => position)),
      residentBytes: loads.reduce((sum, { residentBytes }) => sum + residentBytes, 0),
      lagMs: Math.max(0, ...loads.map(({ lagMs }) => lagMs)),
    }
  }

  get residents(): number {
    return this.#statuses.reduce((sum, { residents }) => sum + residents, 0)
  }

  get remote(): RemoteStatus {
    const all = this.#slots.map(({ remote }) => remote)
    return {
      checkpoints: all.flatMap(({ checkpoints }) => checkpoints),
      trimmed: all.reduce((sum, { trimmed }) => sum + trimmed, 0),
      checkpointBytes: all.reduce((sum, { checkpointBytes }) => sum + checkpointBytes, 0),
    }
  }

  /** Of the processes of the engines. */
  get memoryBytes(): number {
    return this.#statuses.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)
  }

  /** How often another process took the place of one. */
  get restarts(): number {
    return this.#slots.reduce((sum, { restarts }) => sum + restarts, 0)
  }

  hosted(): readonly HostedPartition[] {
    return this.#slots.flatMap(({ hosted }) => hosted)
  }

  follow(partition: Partition): Promise<void> {
    return this.#slotOf(partition).follow(partition)
  }

  promote(partition: Partition): Promise<void> {
    return this.#slotOf(partition).promote(partition)
  }

  demote(partition: Partition): Promise<void> {
    return this.#slotOf(partition).demote(partition)
  }

  drop(partition: Partition): Promise<void> {
    return this.#slotOf(partition).drop(partition)
  }

  effectsDone(partition: Partition, seq: number): void {
    this.#slotOf(partition).effectsDone(partition, seq)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    await Promise.all(this.#slots.map((slot) => slot.close()))
    await endAll([...this.#all])
    this.#lock.release()
  }

  get #statuses() {
    return this.#slots.flatMap(({ status }) => (status === undefined ? [] : [status]))
  }

  #slotOf(partition: Partition): EngineSlot {
    const slot = this.#slots[engineOf(partition, this.#options.engines)]
    if (slot === undefined) throw new RangeError('the engines have not been started')
    return slot
  }

  /** Partitions that lie in other folders than they are looked for in are moved, by a process that may end of what it reads. */
  async #arrange(record: HostOptions['record']): Promise<void> {
    const { dataDir, engines } = this.#options
    const [process] = this.#first
    if (process === undefined || arrangedFor(dataDir) === engines) return
    const folders = allFolders(dataDir, engines)
    await process.ask({ op: 'arrange', record, folders, engines })
    noteArranged(dataDir, engines)
  }

  async #take(): Promise<EngineProcess> {
    if (this.#isClosing) throw new CarillonError('CLOSING', 'the node stops: it starts no engine any more')
    const spare = this.#spare
    this.#spare = undefined
    const process = await spare?.catch(() => undefined)
    const taken = process === undefined || process.hasEnded ? await this.#startLoaded() : process
    this.#prepareSpare()
    return taken
  }

  #prepareSpare(): void {
    if (this.#spare !== undefined || this.#isClosing || !this.#options.hasSpare) return
    this.#spare = this.#startLoaded()
    this.#spare.then(
      () => this.#options.logger.debug({}, 'an engine is kept ready'),
      // It is told when it is needed.
      () => undefined,
    )
  }

  async #startLoaded(): Promise<EngineProcess> {
    const process = startProcess(this.#options, this.#lock)
    this.#all.add(process)
    process.exited.then(
      () => this.#all.delete(process),
      () => undefined,
    )
    await loadInto(process, this.#options)
    return process
  }
}

const NO_COUNTS: EngineCounts = {
  applied: 0,
  duplicate: 0,
  ignored: 0,
  dead: 0,
  suspended: 0,
  commits: 0,
  commitMs: 0,
  turnMs: 0,
  digestsCompared: 0,
  digestsDiffering: 0,
}

function startProcess({ engines }: EngineProcessesOptions, { descriptor }: DirectoryLock): EngineProcess {
  return new EngineProcess({ lockDescriptor: descriptor, engines })
}

async function loadInto(
  process: EngineProcess,
  { settings, loadMsMax = LOAD_MS_MAX }: EngineProcessesOptions,
): Promise<EngineBuild> {
  const files = settings.workflows.join(', ')
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    process.kill()
  }, loadMsMax)
  try {
    return (await process.ask({ op: 'load', settings })) as EngineBuild
  } catch (error) {
    if (!process.hasEnded) throw error
    const { how, word } = await process.exited
    const end = isLate ? `took over ${loadMsMax} ms` : `ended (${how})`
    const why = word?.kind === 'stalled' ? `computed for ${word.ranMs} ms without an end` : end
    throw new CarillonError(
      'INVALID_DEFINITION',
      `the process that loads ${files} ${why}: look for a loop, for an await that never ends, and for process.exit at the top level of these files and of what they import`,
    )
  } finally {
    clearTimeout(timer)
  }
}

async function endAll(processes: readonly EngineProcess[]): Promise<void> {
  for (const process of processes) process.kill()
  await Promise.all(processes.map(({ exited }) => exited))
}
