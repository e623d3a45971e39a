/** Batches. Run on the nodes. */
import { codeOf, type Context, implement } from '@carillon/runtime'

import { Batch, BigBatch, FAILURES_KEPT, type Progress, type Settled, type Summary } from './contract.ts'
import { mapBounded } from './map-bounded.ts'

type Counts = { -readonly [Key in keyof Progress]: Progress[Key] }

export const batch = implement(Batch, {
  // Who started it has the results by then.
  retention: '1 day',
  state: ({ items }): Counts => ({ total: items.length, running: 0, done: 0, failed: 0 }),
  run: (ctx, { items, width }) => mapBounded(items, width, (item) => processOne(ctx, item)),
  queries: { progress: (counts) => counts },
})

/** One that fails, for good, does not end the others. */
async function processOne(ctx: Context<typeof Batch.shape, Counts>, item: string): Promise<Settled> {
  ctx.state.running += 1
  try {
    const { value } = await ctx.activities.process({ item })
    ctx.state.done += 1
    return { item, ok: true, value }
  } catch (error) {
    // When the batch is cancelled, it ends.
    if (codeOf(error) !== 'ACTIVITY_FAILED') throw error
    ctx.state.failed += 1
    return { item, ok: false, error: error instanceof Error ? error.message : String(error) }
  } finally {
    ctx.state.running -= 1
  }
}

type Sums = { -readonly [Key in keyof Summary]: Summary[Key] } & { next: number }

/** One life is a few chunks: what is kept to rebuild it does not grow with the number of items. */
export const bigBatch = implement(BigBatch, {
  state: ({ total }): Sums => ({ total, next: 0, done: 0, failed: 0, failures: [] }),
  async run(ctx, input) {
    const { total, chunk, chunksAtOnce, width } = input
    const starts = Array.from({ length: chunksAtOnce }, (_, i) => ctx.state.next + i * chunk).filter(
      (from) => from < total,
    )
    const chunks = starts.map(async (from) => {
      const items = await ctx.activities.list({ from, count: Math.min(chunk, total - from) })
      // If this instance ends, its chunks are terminated, which aborts their activities.
      return ctx.children.start(Batch, `${ctx.id}/${from}`, { items: [...items], width }).result()
    })
    for (const [i, results] of (await Promise.all(chunks)).entries()) {
      await ctx.activities.store({ from: starts[i] ?? 0, results })
      count(ctx.state, results)
    }
    return ctx.state.next < total ? ctx.continueAsNew(input, { state: ctx.state }) : summaryOf(ctx.state)
  },
  queries: { progress: summaryOf },
})

function count(sums: Sums, results: readonly Settled[]): void {
  const failures = results.flatMap((result) => (result.ok ? [] : [{ item: result.item, error: result.error }]))
  sums.next += results.length
  sums.done += results.length - failures.length
  sums.failed += failures.length
  sums.failures = [...sums.failures, ...failures].slice(0, FAILURES_KEPT)
}

function summaryOf({ total, done, failed, failures }: Summary): Summary {
  return { total, done, failed, failures }
}
