/**
 * The version of a state: data of an older build are brought to the shape that this one knows before anything is applied to them.
 *
 * Invariants
 * 1. It is part of reading an instance back: the record in the store stays as it is until the next commit of the instance.
 * 2. Data of a newer version are never touched.
 */
import { CarillonError } from '../errors.ts'
import { copyValue } from '../protocol/index.ts'
import type { Instance } from './instance.ts'
import { enterTurn, leaveTurn, Turn } from './turn.ts'

/** Why a state does not fit this build. */
export interface Misfit {
  readonly error: unknown
}

/** Migrates the state of an instance that has just been read, by the rules of a turn. Gives why it cannot; nothing has changed then. */
export function migrateState(instance: Instance): Misfit | undefined {
  const { data, implementation, type, id } = instance
  const { version, migrate } = implementation
  if (data.stateVersion === version || data.phase.kind === 'absent') return undefined
  if (data.stateVersion > version)
    return {
      error: new CarillonError(
        'UNKNOWN_VERSION',
        `the state of ${type}/${id} has version ${data.stateVersion}, this build knows ${version}: deploy the newer build, then resume`,
      ),
    }
  enterTurn(new Turn(instance.key, data.seq, data.timeMs))
  try {
    const state: unknown = migrate?.(copyValue(data.state), data.stateVersion)
    if (state instanceof Promise) {
      state.catch(() => {})
      throw new Error('it returned a promise, and must not wait for anything')
    }
    data.state = copyValue(state)
    data.stateVersion = version
    return undefined
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return {
      error: new CarillonError(
        'MIGRATION_FAILED',
        `migrate of ${type} failed for the state of ${id}, from version ${data.stateVersion} to ${version}: ${reason}`,
        { cause: error },
      ),
    }
  } finally {
    leaveTurn()
  }
}
