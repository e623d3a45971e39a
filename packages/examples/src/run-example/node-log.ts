/** What of a node's log a reader of an example wants to see: the lines of activities and workflows, and trouble. */

/** More of the same kind are counted only. */
const SAME_MAX = 8
/** Of pino: warnings and worse. */
const WARN = 40
const KEYS_OF_PINO = new Set(['level', 'time', 'msg', 'type', 'id', 'activity', 'key', 'node', 'dataDir'])

export class NodeLog {
  readonly #print: (line: string) => void
  readonly #counts = new Map<string, number>()

  constructor(print: (line: string) => void) {
    this.#print = print
  }

  /** One line as the node wrote it. */
  add(line: string): void {
    const entry = parse(line)
    if (entry === undefined) return this.#print(`  node: ${line}`)
    const { level, type, id } = entry
    const isOfInstance = typeof type === 'string' && typeof id === 'string'
    if (!isOfInstance && Number(level) < WARN) return
    const message = textOf(entry['msg'])
    const kind = `${Number(level)} ${isOfInstance ? type : ''} ${message}`
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count <= SAME_MAX) this.#print(`  node: ${isOfInstance ? `${type}/${id}: ` : ''}${message}${fieldsOf(entry)}`)
  }

  /** Tells how much was not printed. */
  end(): void {
    const more = [...this.#counts.values()].reduce((sum, count) => sum + Math.max(0, count - SAME_MAX), 0)
    if (more > 0) this.#print(`  node: … and ${more} more lines like these`)
  }
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function fieldsOf(entry: Readonly<Record<string, unknown>>): string {
  const fields = Object.entries(entry).filter(([key]) => !KEYS_OF_PINO.has(key))
  return fields.map(([key, value]) => `, ${key} ${textOf(value)}`).join('')
}

/** Of an error, what it says: a reader has the source. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  const isError = typeof value === 'object' && value !== null && 'message' in value
  return isError ? String(value.message) : JSON.stringify(value)
}
