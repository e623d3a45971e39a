/**
 * Whether the results in the journal are those of what a build asks for: the journal has no list of effects, but each result names the effect that it
 * is of.
 */
import type { RefoldEffect, RefoldStep } from '@carillon/runtime/replay'

/** Effects of one instance that are remembered: a result may come late, and twice. */
const ASKED_MAX = 100_000

type Asked = 'activity' | 'timer' | 'send'

const ASKED_BY_KIND: Readonly<Record<string, Asked>> = {
  activity: 'activity',
  timer: 'timer',
  child: 'send',
  answer: 'send',
}

export class AskedEffects {
  readonly #asked = new Map<string, { readonly kind: Asked; readonly name: string }>()

  /** Takes what an input asked for. */
  add(effects: readonly RefoldEffect[]): void {
    for (const effect of effects) {
      if (effect.kind !== 'activity' && effect.kind !== 'timer' && effect.kind !== 'send') continue
      this.#asked.set(effect.id, { kind: effect.kind, name: effect.name })
    }
    for (const id of this.#asked.keys()) {
      if (this.#asked.size <= ASKED_MAX) return
      this.#asked.delete(id)
    }
  }

  /** Why a result does not fit; undefined when it does, or is none. `payload` is that of the input, decoded; undefined where it cannot be. */
  mismatch({ kind, name }: RefoldStep, payload: unknown): string | undefined {
    const expected = ASKED_BY_KIND[kind]
    if (expected === undefined) return undefined
    const id = effectOf(payload)
    if (id === undefined) return undefined
    const asked = this.#asked.get(id)
    const result = `the journal has the result of ${expected === 'send' ? kind : `${kind} ${name}`} for the effect ${id}`
    if (asked === undefined) return `${result}, which this build does not ask for`
    const fits = asked.kind === expected && (expected === 'send' || asked.name === name)
    return fits ? undefined : `${result}, where this build asks for ${asked.kind} ${asked.name}`
  }
}

function effectOf(payload: unknown): string | undefined {
  if (typeof payload !== 'object' || payload === null || !('effect' in payload)) return undefined
  return typeof payload.effect === 'string' ? payload.effect : undefined
}
