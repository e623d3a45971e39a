/**
 * The inbox, and people who use it as the page does, over HTTP.
 *
 *     tsx producer.ts [servers]                  people claim, return, reject and approve; nobody looks at one expense
 *     tsx producer.ts [servers] --stay [port]    three expenses, and the page stays open for you
 */
import assert from 'node:assert/strict'

import { connect } from '@carillon/client'

import { type Decision, Expense } from './contract.ts'
import { type Action, type NewExpense, openInbox, type TaskRow } from './inbox-server.ts'
import { tasksOf } from './tasks.ts'

const [servers = 'nats://127.0.0.1:4222', stay, port = '8080'] = process.argv.slice(2)
const carillon = await connect({ servers })
const tasks = tasksOf(
  (id) => carillon.workflow(Expense, id),
  (options) => carillon.list(options),
  (token, decision) => carillon.completeTask(token, decision),
)
const inbox = await openInbox(tasks, stay === undefined ? 0 : Number(port))
try {
  if (stay === undefined) await usedByPeople()
  else await openForYou()
} finally {
  await inbox.close()
  await carillon.close()
}

async function openForYou(): Promise<void> {
  const examples = [
    { employee: 'ann', purpose: 'a train ticket to Basel', amountCents: 8_900 },
    { employee: 'bob', purpose: 'a chair that does not hurt', amountCents: 42_000 },
    { employee: 'eve', purpose: 'dinner with a customer', amountCents: 12_350 },
  ]
  for (const [i, expense] of examples.entries())
    await carillon.workflow(Expense, `example-${i + 1}`).start(expense, { ifRunning: 'use' })
  say(`the task inbox is at ${inbox.url}; Ctrl-C ends it`)
  await new Promise((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
}

async function usedByPeople(): Promise<void> {
  const run = Date.now().toString(36)
  const [train, chair, forgotten] = [`train-${run}`, `chair-${run}`, `forgotten-${run}`]
  await file(train, { employee: 'ann', purpose: 'a train ticket to Basel', amountCents: 8_900 })
  await file(chair, { employee: 'bob', purpose: 'a golden chair', amountCents: 4_200_000 })
  await file(forgotten, { employee: 'eve', purpose: 'dinner', amountCents: 12_350, deadlineMs: 700 })
  await listed('', [train, chair])
  await listed('?group=managers', [train, chair])

  await act(train, 'claim', { by: 'max' })
  await listed('?claimedBy=max', [train])
  await refused(train, 'claim', { by: 'moe' }, 'max has claimed it')
  await refused(train, 'complete', { by: 'moe' }, "it is max's now")
  await act(train, 'return', { by: 'max' })
  await act(train, 'claim', { by: 'moe' })
  await act(train, 'complete', { by: 'moe', comment: 'have a nice trip' })

  await refused(chair, 'claim', { by: 'bob' }, 'nobody decides on their own expense')
  await act(chair, 'claim', { by: 'max' })
  await refused(chair, 'reject', { by: 'max', comment: '' }, 'say why it is rejected')
  await act(chair, 'reject', { by: 'max', comment: 'wood will do' })

  await endsWith(train, 'approved', 'moe')
  await endsWith(chair, 'rejected', 'max')
  // First the managers let the deadline pass, then the directors.
  await endsWith(forgotten, 'expired', undefined)
}

async function file(id: string, expense: NewExpense): Promise<void> {
  say(`${expense.employee} files ${id}: ${expense.purpose}, ${(expense.amountCents / 100).toFixed(2)}`)
  assert.equal((await call('POST', `/api/tasks/${id}`, expense)).status, 201)
}

async function act(id: string, action: Action, input: { by: string; comment?: string }): Promise<void> {
  const { status, body } = await call('POST', `/api/tasks/${id}/${action}`, input)
  assert.equal(status, 200, JSON.stringify(body))
  const { group, claimedBy, decision } = body as TaskRow
  say(`${input.by}: ${action} ${id}: for ${group}, claimed by ${claimedBy ?? 'nobody'}, ${decision?.outcome ?? 'open'}`)
}

async function refused(
  id: string,
  action: Action,
  input: { by: string; comment?: string },
  reason: string,
): Promise<void> {
  const { status, body } = await call('POST', `/api/tasks/${id}/${action}`, input)
  const { error } = body as { readonly error: string }
  say(`${input.by}: ${action} ${id}: refused with ${status}: ${error}`)
  assert.equal(status, 409)
  assert.ok(error.includes(reason), error)
}

async function listed(query: string, ids: readonly string[]): Promise<void> {
  const rows = (await call('GET', `/api/tasks${query}`)).body as readonly TaskRow[]
  say(`the inbox lists ${rows.length} tasks${query === '' ? '' : ` for ${query}`}`)
  for (const id of ids)
    assert.ok(
      rows.some((row) => row.id === id),
      `the inbox does not list ${id}`,
    )
}

async function endsWith(id: string, outcome: Decision['outcome'], by: string | undefined): Promise<void> {
  const result = await carillon.workflow(Expense, id).result({ timeoutMs: 15_000 })
  say(`${id} has ended: ${JSON.stringify(result)}`)
  assert.equal(result.outcome, outcome)
  assert.equal(result.by, by)
}

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${inbox.url}${path}`, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  return { status: response.status, body: await response.json() }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
