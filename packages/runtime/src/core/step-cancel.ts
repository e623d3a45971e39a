/** Cancel requests: they reach `run`, which may clean up, go on, or end; without `run` the instance closes behind the handlers in progress. */
import { CarillonError, type ErrorData, toErrorData } from '../errors.ts'
import type { Input } from '../protocol/index.ts'
import { isMeant, parseEnding } from './ending-payload.ts'
import type { Instance } from './instance.ts'
import { parsePayload } from './parse-payload.ts'

export function stepCancel(instance: Instance, input: Input): void {
  const parsed = parsePayload(() => parseEnding(instance, input))
  if (!parsed.ok) return instance.deadLetter(input, parsed.error)
  const { reason } = parsed.value
  if (!isMeant(instance, parsed.value)) {
    instance.emit({ kind: 'ignored', input })
    return instance.finish(input, { ok: true })
  }
  if (instance.data.phase.kind !== 'running') return instance.finish(input, { ok: false, error: notRunning(instance) })
  // This life ends already: the request is for what comes behind.
  if (instance.closing !== undefined) return instance.enqueue({ input, run: () => undefined })
  const because = reason === undefined ? '' : `: ${reason}`
  const error = new CarillonError('CANCELLED', `${instance.type}/${instance.id} was cancelled${because}`)
  instance.isCancelled = true
  if (instance.mainScope === undefined)
    instance.requestClose({ ok: false, error: toErrorData(error, 'CANCELLED') }, input.seq)
  else instance.mainScope.cancel(instance, error)
  instance.finish(input, { ok: true })
}

function notRunning({ type, id, data }: Instance): ErrorData {
  return data.phase.kind === 'closed'
    ? { code: 'CLOSED', message: `${type}/${id} is closed already: there is nothing to cancel` }
    : { code: 'NOT_FOUND', message: `there is no instance ${type}/${id} to cancel` }
}
