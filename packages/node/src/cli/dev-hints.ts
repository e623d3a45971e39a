/** What `carillon dev` says once its node is ready: how to send a first signal. */
import { encodeToken } from '@carillon/runtime/protocol'

import type { WorkflowSummary } from './dev-message.ts'

export interface FirstSteps {
  readonly url: string
  /** The value of `--servers`, when the usual one will not do. */
  readonly servers: string | undefined
  /** Where the server takes MQTT, if it does. */
  readonly mqtt?: string | undefined
  readonly namespace: string
  readonly dataDir: string
  readonly workflows: readonly WorkflowSummary[]
}

const ID = 'my-1'

export function formatFirstSteps({ url, servers, mqtt, namespace, dataDir, workflows }: FirstSteps): string[] {
  const names = workflows.map(({ type }) => type).join(', ')
  const lines = ['', `ready: ${names} at ${url}${mqtt === undefined ? '' : ` and ${mqtt}`}, data in ${dataDir}`]
  const example = workflows.find(({ signals }) => signals.length > 0) ?? workflows[0]
  if (example === undefined) return lines
  const options = `${servers === undefined ? '' : ` --servers ${servers}`}${namespace === 'carillon' ? '' : ` --namespace ${namespace}`}`
  const { type, startOnSignal, signals, queries } = example
  const [signal] = signals
  const [query] = queries
  lines.push('', 'In another terminal:')
  if (!startOnSignal) lines.push(`  carillon start ${shell(type)} ${ID} '{}'${options}`)
  if (signal !== undefined)
    lines.push(`  carillon signal ${shell(type)} ${ID} ${shell(signal)} '{}' --wait applied${options}`)
  if (query !== undefined) lines.push(`  carillon query ${shell(type)} ${ID} ${shell(query)}${options}`)
  lines.push(`  carillon history ${shell(type)} ${ID}${options}`)
  if (signal !== undefined)
    lines.push(
      'Or with any NATS client:',
      `  nats pub${servers === undefined ? '' : ` -s ${servers}`} ${namespace}.signal.${encodeToken(type)}.${ID}.${encodeToken(signal)} '{}'`,
    )
  return [...lines, '']
}

/** A word as a shell takes it. */
function shell(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
