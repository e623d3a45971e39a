/** Bounds of the inputs that wait, signal by signal: what an author declares under `mailbox`. core/mailbox-policy.ts obeys it. */

/**
 * What happens when one more would wait: `reject` refuses it, `drop-oldest` takes the one out that has waited longest, `latest` too, but as done: the
 * later one stands for it.
 */
export type Overflow = 'reject' | 'drop-oldest' | 'latest'

/** How many inputs of one signal may wait. */
export interface MailboxPolicy {
  /** 1 to 100,000; 0 with `reject`, for a signal that is only taken when nothing is in front of it. */
  readonly max: number
  readonly overflow: Overflow
}

/** The most that a policy may let wait. */
const WAITING_MAX = 100_000
const OVERFLOWS: readonly unknown[] = ['reject', 'drop-oldest', 'latest'] satisfies readonly Overflow[]

/** The policies of a type by signal; undefined for a type without any, which then pays nothing. */
export function parseMailbox(
  given: Readonly<Record<string, unknown>> | undefined,
  signals: Readonly<Record<string, unknown>> | undefined,
  refuse: (message: string) => never,
): ReadonlyMap<string, MailboxPolicy> | undefined {
  const policies = Object.entries(given ?? {}).filter(([, policy]) => policy !== undefined)
  if (policies.length === 0) return undefined
  const parsed = new Map<string, MailboxPolicy>()
  for (const [name, policy] of policies) {
    if (!Object.hasOwn(signals ?? {}, name)) refuse(`bounds the signal ${name}, which its contract does not declare`)
    const { max, overflow } = (policy ?? {}) as { readonly max?: unknown; readonly overflow?: unknown }
    if (!OVERFLOWS.includes(overflow))
      refuse(`bounds the signal ${name} with overflow ${String(overflow)}: give 'reject', 'drop-oldest' or 'latest'`)
    const least = overflow === 'reject' ? 0 : 1
    if (!Number.isInteger(max) || Number(max) < least || Number(max) > WAITING_MAX)
      refuse(`bounds the signal ${name} with max ${String(max)}: give a whole number from ${least} to ${WAITING_MAX}`)
    parsed.set(name, Object.freeze({ max, overflow } as MailboxPolicy))
  }
  return parsed
}
