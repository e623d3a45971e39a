/**
 * Determinism enforced: inside a turn, the host's clock and randomness are the turn's, and timers and I/O of the host are refused.
 *
 * Owns: the replaced globals and functions of built-in modules.
 *
 * Invariants
 * 1. Outside of turns every replaced function does what it did: activities are normal code.
 * 2. What is refused says which call to use instead.
 */
import childProcess from 'node:child_process'
import crypto from 'node:crypto'
import dgram from 'node:dgram'
import dns from 'node:dns'
import dnsPromises from 'node:dns/promises'
import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import timers from 'node:timers'
import timersPromises from 'node:timers/promises'
import tls from 'node:tls'

import { CarillonError } from '../errors.ts'
import { raceOfWaits } from './race.ts'
import { currentTurn, type Turn } from './turn.ts'

type AnyFunction = (...args: never[]) => unknown
type Holder = Record<string, AnyFunction | undefined>

const USE_SLEEP = 'use ctx.sleep or a timer handler'
const USE_ACTIVITY = 'do it in an activity'

let installed = false

/** Replaces the globals of this thread, once. Called by whoever runs workflow code: the node process and the test kit. */
export function installGuards(): void {
  if (installed) return
  installed = true
  replaceDate()
  answer(Math as unknown as Holder, 'random', (turn) => turn.random.float())
  answer(performance as unknown as Holder, 'now', (turn) => turn.nowMs)
  // Before `hrtime` itself, which takes it over.
  answer(process.hrtime as unknown as Holder, 'bigint', (turn) => BigInt(Math.round(turn.nowMs)) * 1_000_000n)
  answer(process as unknown as Holder, 'uptime', (turn) => turn.nowMs / 1000)
  answer(process as unknown as Holder, 'hrtime', (turn) => [
    Math.floor(turn.nowMs / 1000),
    (turn.nowMs % 1000) * 1_000_000,
  ])
  guardCrypto()
  guardRace()
  refuse(globalThis, ['setTimeout', 'setInterval', 'setImmediate'], USE_SLEEP)
  refuse(globalThis, ['fetch'], USE_ACTIVITY)
  refuse(process, ['nextTick'], 'await a ctx call instead')
  refuse(timers, ['setTimeout', 'setInterval', 'setImmediate'], USE_SLEEP)
  refuse(timersPromises, ['setTimeout', 'setInterval', 'setImmediate'], USE_SLEEP)
  refuse(timersPromises.scheduler, ['wait', 'yield'], USE_SLEEP)
  refuse(childProcess, ['spawn', 'spawnSync', 'exec', 'execSync', 'execFile', 'execFileSync', 'fork'], USE_ACTIVITY)
  refuse(http, ['request', 'get', 'createServer'], USE_ACTIVITY)
  refuse(https, ['request', 'get', 'createServer'], USE_ACTIVITY)
  refuse(http2, ['connect', 'createServer', 'createSecureServer'], USE_ACTIVITY)
  refuse(net, ['connect', 'createConnection', 'createServer'], USE_ACTIVITY)
  // A socket that was made by hand.
  refuse(net.Socket.prototype, ['connect'], USE_ACTIVITY)
  refuse(tls, ['connect', 'createServer'], USE_ACTIVITY)
  for (const resolver of [dns, dnsPromises])
    refuse(resolver, ['lookup', 'lookupService', 'resolve', 'resolve4', 'resolve6', 'reverse'], USE_ACTIVITY)
  refuse(dgram, ['createSocket'], USE_ACTIVITY)
  refuse(fs, fileFunctions(fs), USE_ACTIVITY)
  refuse(fsPromises, fileFunctions(fsPromises), USE_ACTIVITY)
  syncBuiltinESMExports()
}

function replaceDate(): void {
  const HostDate = Date
  const TurnDate = new Proxy(HostDate, {
    construct(target, args: unknown[], newTarget) {
      const turn = args.length === 0 ? currentTurn() : undefined
      return Reflect.construct(target, turn === undefined ? args : [turn.nowMs], newTarget) as object
    },
    apply(target, self, args: unknown[]) {
      const turn = currentTurn()
      return turn === undefined ? (Reflect.apply(target, self, args) as unknown) : new HostDate(turn.nowMs).toString()
    },
  })
  const hostNow = HostDate.now
  HostDate.now = () => currentTurn()?.nowMs ?? hostNow()
  // `new Date().constructor` leads to the guarded one as well.
  HostDate.prototype.constructor = TurnDate
  globalThis.Date = TurnDate
}

function guardCrypto(): void {
  for (const holder of [crypto, globalThis.crypto] as unknown as Holder[])
    answer(holder, 'randomUUID', (turn) => turn.random.uuid())
  answer(globalThis.crypto as unknown as Holder, 'getRandomValues', (turn, array) => {
    const view = array as unknown as ArrayBufferView
    turn.random.fill(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    return array
  })
  refuse(
    crypto,
    ['randomBytes', 'randomInt', 'randomFill', 'randomFillSync', 'getRandomValues'],
    'use ctx.random or ctx.uuid',
  )
}

/** Inside a turn a race of waits knows its losers. */
function guardRace(): void {
  const holder = Promise as unknown as Holder
  const original = holder['race'] as AnyFunction
  replace(holder, 'race', original, function guarded(this: unknown, contenders: never) {
    if (currentTurn() === undefined || this !== Promise) return Reflect.apply(original, this, [contenders])
    const given = isIterable(contenders) ? [...contenders] : contenders
    return (Array.isArray(given) ? raceOfWaits(given) : undefined) ?? Reflect.apply(original, this, [given as never])
  })
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}

/** Inside a turn the function answers from the turn. */
function answer(holder: Holder, name: string, inTurn: (turn: Turn, ...args: never[]) => unknown): void {
  const original = holder[name]
  if (original === undefined) return
  replace(holder, name, original, function guarded(this: unknown, ...args: never[]) {
    const turn = currentTurn()
    return turn === undefined ? Reflect.apply(original, this, args) : inTurn(turn, ...args)
  })
}

/** Inside a turn the functions throw. */
function refuse(holder: object, names: readonly string[], instead: string): void {
  for (const name of names) {
    const original = (holder as Holder)[name]
    if (typeof original !== 'function' || Object.getOwnPropertyDescriptor(holder, name)?.configurable === false)
      continue
    replace(holder as Holder, name, original, function guarded(this: unknown, ...args: never[]) {
      if (currentTurn() !== undefined) {
        throw new CarillonError(
          'NONDETERMINISTIC',
          `workflow code called ${name}, which may give another result when the journal is folded again: ${instead}`,
        )
      }
      // `new fs.ReadStream()` and its kin are constructors too.
      return new.target === undefined
        ? Reflect.apply(original, this, args)
        : Reflect.construct(original, args, new.target === guarded ? original : new.target)
    })
  }
}

function replace(holder: Holder, name: string, original: AnyFunction, guarded: AnyFunction): void {
  // Own properties (setTimeout[util.promisify.custom], fs.realpath.native, …) and the prototype stay what they were.
  for (const key of Reflect.ownKeys(original)) {
    if (key === 'length' || key === 'name' || key === 'prototype') continue
    Object.defineProperty(guarded, key, Object.getOwnPropertyDescriptor(original, key) ?? {})
  }
  guarded.prototype = original.prototype as unknown
  Object.defineProperty(guarded, 'name', { value: name, configurable: true })
  Object.defineProperty(holder, name, {
    value: guarded,
    writable: true,
    configurable: true,
    enumerable: Object.getOwnPropertyDescriptor(holder, name)?.enumerable ?? true,
  })
}

function fileFunctions(module: object): string[] {
  return Object.keys(module).filter((name) => /^[a-z]/.test(name) && typeof (module as Holder)[name] === 'function')
}
