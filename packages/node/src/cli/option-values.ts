/** Parsers of option values. Commander adds the option's name, and where the value came from, to what they throw. */
import { type Duration, toMs } from '@carillon/runtime'
import { InvalidArgumentError, Option } from 'commander'

import { ENGINES_MAX } from '../engines/engine-folders.ts'

export function parseWhole(text: string): number {
  const value = Number(text)
  if (/^\d{1,15}$/.test(text) && value >= 1) return value
  throw new InvalidArgumentError('It must be a whole number from 1.')
}

/** From 1 to `ENGINES_MAX`. */
export function parseEngines(text: string): number {
  const value = Number(text)
  if (/^\d{1,3}$/.test(text) && value >= 1 && value <= ENGINES_MAX) return value
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${ENGINES_MAX}.`)
}

/** `9464`, `0.0.0.0:9464` or `[::]:9464`; port 0 is a free one. */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const [, host, port] = /^(?:\[?([^[\]]+)\]?:)?(\d{1,5})$/.exec(text) ?? []
  if (port !== undefined && Number(port) <= 65_535) return { host: host ?? '127.0.0.1', port: Number(port) }
  throw new InvalidArgumentError("It must be a port, or a host and a port, for example '9464' or '0.0.0.0:9464'.")
}

/** Milliseconds from `500ms`, `30s`, `2 minutes`, …; above 0. */
export function parseDuration(text: string): number {
  try {
    const ms = toMs(text as Duration)
    if (ms > 0) return ms
  } catch {
    // Told below, in the words of the other options.
  }
  throw new InvalidArgumentError(
    "It must be a duration above 0 with its unit, for example '500ms', '30s' or '2 hours'.",
  )
}

const UNITS = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }

/** Bytes from `500MB`, `20GiB`, `1000000B`. */
export function parseBytes(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?) ?([kKMGT]?i?B)$/.exec(text) ?? []
  const bytes = unit !== undefined && unit in UNITS ? Number(count) * UNITS[unit as keyof typeof UNITS] : 0
  if (bytes >= 1 && Number.isSafeInteger(Math.round(bytes))) return Math.round(bytes)
  throw new InvalidArgumentError("It must be a size above 0 with its unit, for example '500MB' or '20GiB'.")
}

/** Several values in one text, as environment variables hold them. */
export function splitList(texts: readonly string[] | undefined): string[] {
  return (texts ?? [])
    .flatMap((text) => text.split(','))
    .map((text) => text.trim())
    .filter((text) => text !== '')
}

/** Which node answers a read. */
export function readFrom(): Option {
  return new Option('--from <node>', 'which node answers: the owner, or any that has a copy')
    .choices(['owner', 'any'])
    .default('owner')
}
