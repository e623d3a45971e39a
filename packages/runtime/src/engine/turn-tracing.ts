/** Turns, as a tracer is told of them, and what their effects carry on. Without a tracer an effect carries on what its input brought. */
import type { TurnTracer } from '../contract/turn-tracer.ts'
import { type Effect, type EffectId, type TurnResult, toPlainError } from '../core/index.ts'
import type { ErrorData } from '../errors.ts'
import { type Input, type InstanceKey, parseKey, traceHeaders } from '../protocol/index.ts'

export class TurnTracing {
  readonly #tracer: TurnTracer | undefined
  #journal = ''

  constructor(tracer: TurnTracer | undefined) {
    this.#tracer = tracer
  }

  /** Which journal it is that sequences are of. */
  begin(journal: string): void {
    this.#journal = journal
  }

  /** What is told of each turn; undefined where nobody wants to hear. */
  get applied(): ((key: InstanceKey, input: Input, result: TurnResult, startMs: number) => void) | undefined {
    const tracer = this.#tracer
    if (tracer === undefined) return undefined
    return (key, input, result, startMs) => {
      const { seq, trace, kind, name, id: inputId } = input
      tracer.applied({
        journal: this.#journal,
        key,
        seq,
        trace,
        ...parseKey(key),
        kind,
        name,
        inputId,
        startMs,
        endMs: hostNowMs(),
        ...outcomeOf(input, result),
      })
    }
  }

  /** The trace context of an effect, by the input whose turn asked for it. */
  of(key: InstanceKey, effect: EffectId, trace: string | undefined): string | undefined {
    if (this.#tracer === undefined) return trace
    const seq = Number(effect.slice(0, effect.indexOf('.')))
    return this.#tracer.contextOf({ journal: this.#journal, key, seq, trace })
  }

  headersOf(key: InstanceKey, effect: EffectId, trace: string | undefined): Readonly<Record<string, string>> {
    return traceHeaders(this.of(key, effect, trace))
  }
}

/** The host's clock with fractions of a millisecond; outside of turns. */
export function hostNowMs(): number {
  return performance.timeOrigin + performance.now()
}

function outcomeOf(
  { seq }: Input,
  result: TurnResult,
): { readonly outcome: 'applied' | 'duplicate' | 'dead' | 'suspended'; readonly error: ErrorData | undefined } {
  if (result.kind === 'poisoned') return { outcome: 'suspended', error: toPlainError(result.error, 'HANDLER_FAILED') }
  const buried = result.effects.find(isBurialOf(seq))
  if (buried !== undefined) return { outcome: 'dead', error: buried.reason }
  const isRepeat = result.effects.some(({ kind }) => kind === 'duplicate')
  return { outcome: isRepeat ? 'duplicate' : 'applied', error: undefined }
}

/** The input itself, and none that had waited behind it. */
function isBurialOf(seq: number) {
  return (effect: Effect): effect is Effect & { readonly kind: 'dead' } =>
    effect.kind === 'dead' && effect.input.seq === seq
}
