/** Waits for the outcome of an input: its reply, or, when that was lost with a node, what the partition's owner remembers. */
import { CarillonError } from '@carillon/runtime'
import { quote, type ReplyPayload, RPC_WAIT_MS_MAX } from '@carillon/runtime/protocol'

import { type Deadline, within } from './deadline.ts'
import { type AwaitedReply, isOutcome } from './reply-inbox.ts'
import { type Attempt, backOffMs, type RpcClient } from './rpc-client.ts'
import type { Target } from './target.ts'

export interface AwaitedOutcome {
  readonly target: Target
  /** The input, in error messages. */
  readonly what: string
  readonly id: string
  /** Its sequence, once it is durable. */
  readonly seq: Promise<number>
  readonly awaited: AwaitedReply
  readonly deadline: Deadline
}

/** Replies come at once or not at all: the node that would have sent it may be gone. */
const REPLY_MS = 1_000
/** How long one request for the outcome is held by the node; short, because the reply may still come another way. */
const HOLD_MS = Math.min(2_000, RPC_WAIT_MS_MAX)
const ANSWER_MS = 1_000

/**
 * Waits until the input is applied.
 *
 * @throws NOT_ACKNOWLEDGED when it is not known to be durable by the deadline. @throws TIMEOUT, or NO_NODE when no node serves the partition,
 * when it is durable but not applied by then: it will be, and the same id asks for its outcome again.
 */
export async function awaitOutcome(rpc: RpcClient, input: AwaitedOutcome): Promise<ReplyPayload> {
  const { awaited, deadline } = input
  const seq = await acceptedOrReplied(input)
  if (typeof seq !== 'number') return seq
  const early = await within(awaited.reply, Math.min(REPLY_MS, deadline.leftMs))
  if (early !== undefined) return early
  let last: Attempt = { kind: 'silent', reason: '' }
  for (let attempt = 0; !deadline.hasPassed; attempt++) {
    const asked = ask(rpc, input, seq)
    const first = await Promise.race([awaited.reply, asked])
    if ('outcome' in first) return first
    if (first.kind === 'value' && isOutcome(first.value)) return { seq, duplicate: false, outcome: first.value }
    last = first
    const meanwhile = await within(awaited.reply, Math.min(backOffMs(attempt), deadline.leftMs))
    if (meanwhile !== undefined) return meanwhile
  }
  throw tooLate(input, seq, last)
}

/** A reply proves as much as an acknowledgement: only durable inputs are applied. */
async function acceptedOrReplied(input: AwaitedOutcome): Promise<number | ReplyPayload> {
  const { awaited, seq, deadline, what, id } = input
  const first = await within(Promise.race([seq, awaited.reply]), deadline.leftMs)
  if (first !== undefined) return first
  throw new CarillonError(
    'NOT_ACKNOWLEDGED',
    `${what} is not acknowledged after ${deadline.timeoutMs} ms and may be stored or not: send it again with the same id ${quote(id)}`,
  )
}

/** Asks the owner. A rejection is taken when it is looked at: the reply may have won by then. */
function ask(rpc: RpcClient, { target, what, id, deadline }: AwaitedOutcome, seq: number): Promise<Attempt> {
  const waitMs = Math.ceil(Math.min(HOLD_MS, deadline.leftMs))
  const timeoutMs = Math.min(waitMs + ANSWER_MS, deadline.leftMs)
  const asked = rpc.attempt(
    target.partition,
    { op: 'outcome', key: target.key, id, seq, waitMs },
    timeoutMs,
    `the outcome of ${what}`,
  )
  asked.catch(() => undefined)
  return asked
}

function tooLate({ what, id, deadline }: AwaitedOutcome, seq: number, last: Attempt): CarillonError {
  const accepted = `${what} was accepted at seq ${seq} but not applied within ${deadline.timeoutMs} ms`
  const next = `it will be applied: send it again with the same id ${quote(id)} for its outcome`
  const details = { seq, id }
  if (last.kind === 'nobody')
    return new CarillonError('NO_NODE', `${accepted}, because no node serves its partition; ${next}`, { details })
  return new CarillonError('TIMEOUT', `${accepted}; ${next}`, { details })
}
