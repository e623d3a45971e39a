/** Plain coroutines, for use in `run`. */

/**
 * Like `Promise.all(items.map(fn))`, but with at most `width` at once: as many lanes, each of which takes the next item when it is done with one.
 * The results are in the order of the items. The first that rejects rejects it all, so let `fn` catch what shall not end the rest.
 */
export async function mapBounded<Item, Result>(
  items: readonly Item[],
  width: number,
  fn: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  const queue = items.entries()
  const lane = async (): Promise<void> => {
    for (const [i, item] of queue) results[i] = await fn(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane))
  return results
}
