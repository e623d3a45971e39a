/**
 * Mailbox policies: how many inputs of one signal may wait, for their handler's turn or for `receive`, and which one gives way.
 *
 * Invariants
 * 1. An input that gives way ends there and then: dead-lettered as MAILBOX_FULL, or, where a later one stands for it, as done.
 * 2. Those that stay keep their places: no policy moves an input in front of another.
 * 3. Inputs in front of a close that was asked for and those behind it are of two lives: they are counted apart, and none stands for one of the
 *    other side.
 */
import type { MailboxPolicy } from '../contract/mailbox.ts'
import type { Input } from '../protocol/index.ts'
import type { Instance } from './instance.ts'

/** After a signal came into the queue: takes out what is too much of its name on its side of the close. */
export function boundQueue(instance: Instance, policy: MailboxPolicy, name: string, seq: number): void {
  if (instance.queued <= policy.max) return
  const waiting = instance.waitingJobs(name, seq)
  if (waiting.length <= policy.max) return
  const job = policy.overflow === 'reject' ? waiting.at(-1) : waiting[0]
  if (job === undefined) return
  instance.dropWaiting(job)
  giveWay(instance, policy, name, job.asSignal?.() ?? job.input, seq)
}

/** After a signal came into the mailbox: takes out what is too much of its name. */
export function boundMailbox(instance: Instance, policy: MailboxPolicy, { name, seq }: Input): void {
  const { mailbox } = instance.data
  if (mailbox.length <= policy.max) return
  const waiting = mailbox.filter((input) => input.name === name)
  if (waiting.length <= policy.max) return
  const input = policy.overflow === 'reject' ? waiting.at(-1) : waiting[0]
  if (input === undefined) return
  mailbox.splice(mailbox.indexOf(input), 1)
  giveWay(instance, policy, name, input, seq)
}

/** Ends an input for the one at `seq`. */
function giveWay(instance: Instance, { max, overflow }: MailboxPolicy, name: string, input: Input, seq: number): void {
  if (overflow === 'latest') return instance.finish(input, { ok: true, value: { supersededBy: seq } })
  const where = `${max} inputs of the signal ${name} may wait in ${instance.type}/${instance.id}`
  const message =
    overflow === 'reject'
      ? `${where}, and so many do: send it again later, with another id`
      : `${where}: this one had waited longest when the one at seq ${seq} came`
  instance.deadLetter(input, { code: 'MAILBOX_FULL', message })
}
