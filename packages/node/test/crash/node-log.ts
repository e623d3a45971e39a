/** The lines of a node's log that a killed node may leave behind; anything else is a finding. */

const ALLOWED = new Set([
  'an attempt of an activity failed',
  // The instances of the type `stuck` are there for this.
  // The life before, and what becomes of a node that hears nothing for a while on a busy machine.
  'a node is gone: its process has ended',
  'this node has slept, or had no CPU, for over a second: what it knows of the others is old',
  'an instance is suspended: fix its code or the input, deploy, then resume it',
])

export function logFindings(log: readonly string[]): string[] {
  return log.flatMap((text) => {
    const line = parse(text)
    if (line === undefined) return [`a node printed: ${text}`]
    const isAllowed =
      line.level === 'info' || (ALLOWED.has(line.message) && (line.level !== 'error' || line.type === 'stuck'))
    return isAllowed ? [] : [`a node logged: ${text}`]
  })
}

function parse(text: string): { readonly level: string; readonly message: string; readonly type?: string } | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && 'level' in value && 'message' in value
      ? (value as { level: string; message: string })
      : undefined
  } catch {
    return undefined
  }
}
