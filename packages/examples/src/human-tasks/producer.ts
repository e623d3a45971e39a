/** The inbox, with three expenses to begin with: `node --import tsx producer.ts [servers] [port]`, then open the page. */
import { connect } from '@carillon/client'

import { Expense } from './contract.ts'
import { openInbox } from './inbox-server.ts'
import { openTaskIds, tasksOf } from './tasks.ts'

const [servers = 'nats://127.0.0.1:4222', port = '8080'] = process.argv.slice(2)
const carillon = await connect({ servers })
const examples = [
  { employee: 'ann', purpose: 'a train ticket to Basel', amountCents: 8_900 },
  { employee: 'bob', purpose: 'a chair that does not hurt', amountCents: 42_000 },
  { employee: 'eve', purpose: 'dinner with a customer', amountCents: 12_350 },
]
for (const [i, expense] of examples.entries())
  await carillon.workflow(Expense, `example-${i + 1}`).start(expense, { ifRunning: 'use' })

const inbox = await openInbox(
  tasksOf(
    (id) => carillon.workflow(Expense, id),
    () => openTaskIds(carillon),
  ),
  Number(port),
)
process.stdout.write(`the task inbox is at ${inbox.url}; Ctrl-C ends it\n`)
process.once('SIGINT', () => {
  inbox
    .close()
    .then(() => carillon.close())
    .catch((error: unknown) => process.stderr.write(`${String(error)}\n`))
})
