/** Work queues as text, for people. */
import type { QueueRow } from '@carillon/client'

import { formatTable } from './table.ts'

export function formatQueues(rows: readonly QueueRow[]): string[] {
  if (rows.length === 0) return ['no queues']
  return formatTable(
    [
      { title: 'QUEUE', cell: (row) => row.queue },
      { title: 'TYPE', cell: (row) => row.type },
      { title: 'ACTIVITY', cell: (row) => row.activity },
      { title: 'WAITING', cell: (row) => row.waiting },
      { title: 'HELD', cell: (row) => row.held },
      { title: 'AGAIN', cell: (row) => row.again },
      { title: 'PULLS', cell: (row) => row.pulls },
    ],
    rows,
  )
}
