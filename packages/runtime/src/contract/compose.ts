/** Lists of interceptors as one. */

/** Around one call whose value is its `payload`. */
export type Around<Call extends { readonly payload: unknown }, Result> = (
  call: Call,
  next: (payload: unknown) => Result,
) => Result

/** The first is the outermost; undefined for none. */
export function compose<Call extends { readonly payload: unknown }, Result>(
  all: readonly (Around<Call, Result> | undefined)[],
): Around<Call, Result> | undefined {
  const given = all.filter((one) => one !== undefined)
  if (given.length === 0) return undefined
  return (call, last) => {
    const from =
      (index: number) =>
      (payload: unknown): Result => {
        const one = given[index]
        return one === undefined ? last(payload) : one({ ...call, payload }, from(index + 1))
      }
    return from(0)(call.payload)
  }
}
