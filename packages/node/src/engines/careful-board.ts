/**
 * A board that also tells the parent of each turn, as it begins and as it ends: for a process that follows one that has crashed, nobody knows where. It
 * costs a system call each, so it ends after a while.
 */
import { writeSync } from 'node:fs'

import type { BesideKind, TurnBoard } from '@carillon/runtime/engine'
import type { InstanceKey, Partition } from '@carillon/runtime/protocol'

import type { GuardWord } from './guard-words.ts'
import type { SharedTurnBoard, Shown } from './turn-board.ts'

const CAREFUL_MS = 30_000

export class CarefulBoard implements TurnBoard {
  readonly #board: SharedTurnBoard
  readonly #fd: number
  #isCareful = true

  constructor(board: SharedTurnBoard, fd: number) {
    this.#board = board
    this.#fd = fd
    setTimeout(() => (this.#isCareful = false), CAREFUL_MS).unref()
  }

  turn(partition: Partition, seq: number, isStandby: boolean): void {
    if (this.#isCareful) this.#say({ kind: 'running', shown: { kind: 'turn', partition, seq, isStandby } })
    this.#board.turn(partition, seq, isStandby)
  }

  beside(kind: BesideKind, partition: Partition, key: InstanceKey, name: string): void {
    const shown: Shown = { kind, partition, key, name }
    if (this.#isCareful) this.#say({ kind: 'running', shown })
    this.#board.beside(kind, partition, key, name)
  }

  end(): void {
    if (this.#isCareful) this.#say({ kind: 'clear' })
    this.#board.end()
  }

  #say(word: GuardWord): void {
    writeSync(this.#fd, `${JSON.stringify(word)}\n`)
  }
}
