/**
 * A program: the guard of an engine's process, a thread that looks at the turn board and ends the process when a turn does not come back.
 *
 * It sits in the same process, because it looks at memory; and it does the killing, because the thread that it watches may not do anything any more. What it
 * has to say it writes into a pipe to the parent, where it can be read after the end.
 */
import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'

import { type GuardData, type GuardWord, STANDBY_FACTOR, STALL_FACTOR } from './guard-words.ts'
import { threadTimesOf } from './thread-times.ts'
import { SharedTurnBoard } from './turn-board.ts'
import { TurnJudge } from './turn-judge.ts'

const { memory, fd, parentPid, limits } = workerData as GuardData
/** A turn that has run so long is named, in case the process ends in it by itself. */
const NAMED_AFTER_MS = 2 * limits.lookEveryMs
const board = new SharedTurnBoard(memory)
const turns = new TurnJudge()
/** The event loop, whatever runs in it. */
const loop = new TurnJudge()
// The first thread of a process has its id.
const timesOf = threadTimesOf(process.pid)
let named: number | undefined

setInterval(look, limits.lookEveryMs)

function look(): void {
  if (process.ppid !== parentPid) end()
  const nowMs = performance.now()
  const times = timesOf()
  const shown = board.shown()
  const turn = { nowMs, times, isRunning: shown.kind !== 'none', count: board.count }
  const isStandby = shown.kind === 'turn' && shown.isStandby
  if (turns.look(turn, { ...limits, cpuMsMax: limits.turnMsMax * (isStandby ? STANDBY_FACTOR : 1) })) {
    say({ kind: 'endless', shown, ranMs: Math.round(turns.ranMs(turn) ?? 0) })
    return end()
  }
  nameIt((turns.ranMs(turn) ?? 0) >= NAMED_AFTER_MS ? turn.count : undefined)
  const any = { nowMs, times, isRunning: true, count: board.progress }
  if (!loop.look(any, { ...limits, cpuMsMax: limits.turnMsMax * STALL_FACTOR, blockedMsMax: Infinity })) return
  say({ kind: 'stalled', ranMs: Math.round(loop.ranMs(any) ?? 0) })
  end()
}

function nameIt(count: number | undefined): void {
  if (count === named) return
  named = count
  say(count === undefined ? { kind: 'clear' } : { kind: 'running', shown: board.shown() })
}

function say(word: GuardWord): void {
  try {
    writeSync(fd, `${JSON.stringify(word)}\n`)
  } catch {
    // The parent is gone, and so is the process at the next look.
  }
}

/** Nothing that the process has committed is lost, and what it was committing is written wholly or not at all. */
function end(): void {
  process.kill(process.pid, 'SIGKILL')
}
