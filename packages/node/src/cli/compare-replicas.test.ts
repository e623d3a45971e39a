import type { DigestPage, DigestRow, DigestSample, InstanceKey } from '@carillon/runtime/protocol'
import { describe, expect, it } from 'vitest'

import { compareReplicas, type Comparison, type Replica } from './compare-replicas.ts'

type Store = Map<InstanceKey, Omit<DigestRow, 'key' | 'atSeq'>>

const row = (seq: number, digest = `d${seq}`, stateVersion = 1): Omit<DigestRow, 'key' | 'atSeq'> => ({
  seq,
  digest,
  stateVersion,
  waits: false,
})
const key = (n: number): InstanceKey => `t.${String(n).padStart(5, '0')}`
const filled = (count: number): Store => new Map(Array.from({ length: count }, (_, n) => [key(n), row(n + 1)]))

/** A node whose pages are as long as it likes; `before` is called before each answer. */
function replica(
  node: string,
  store: Store,
  {
    page = 500,
    before = () => {},
    samples = [],
  }: {
    readonly page?: number
    readonly before?: () => void
    readonly samples?: readonly DigestSample[]
  } = {},
): Replica {
  return {
    node,
    build: '1',
    async ask({ keys, after, until }): Promise<DigestPage> {
      before()
      const wanted = (keys ??
        [...store.keys()].sort().filter((one) => one > (after ?? '') && one <= (until ?? '~'))) as InstanceKey[]
      const given = wanted.slice(0, page)
      const last = given.at(-1)
      const rows = given.flatMap((one) => {
        const found = store.get(one)
        return found === undefined ? [] : [{ key: one, atSeq: 9999, ...found }]
      })
      return {
        rows,
        samples: keys === undefined ? [] : samples,
        ...(wanted.length > page && last !== undefined ? { next: last } : {}),
      }
    },
  }
}

async function compare(
  ...replicas: readonly Replica[]
): Promise<Comparison & { readonly agreed: readonly InstanceKey[] }> {
  const agreed: InstanceKey[] = []
  return { ...(await compareReplicas(replicas, (one) => agreed.push(one.key))), agreed }
}

describe('comparing replicas', () => {
  it('looks at every instance once, whatever the pages of each node', async () => {
    for (const pages of [
      [500, 500, 500],
      [7, 500, 3],
      [500, 1, 13],
    ]) {
      const result = await compare(...pages.map((page, i) => replica(`n${i}`, filled(40), { page })))
      expect(result).toMatchObject({ instances: 40, equal: 40, differing: [], moving: 0, incomparable: 0 })
      expect(result.agreed).toEqual([...filled(40).keys()])
    }
  })

  it('names an instance that differs, with what each node has', async () => {
    const other = filled(10).set(key(4), row(5, 'other'))
    const { differing, equal } = await compare(replica('a', filled(10)), replica('b', other))
    expect(equal).toBe(9)
    expect(differing).toEqual([
      {
        key: key(4),
        replicas: [
          { node: 'a', build: '1', seq: 5, digest: 'd5' },
          { node: 'b', build: '1', seq: 5, digest: 'other' },
        ],
      },
    ])
  })

  it('names an instance that one node has not at all, though it has come as far, on whichever side', async () => {
    const lacking = filled(10)
    lacking.delete(key(9))
    for (const [one, two] of [
      [filled(10), lacking],
      [lacking, filled(10)],
    ] as const) {
      const { differing } = await compare(replica('a', one), replica('b', two))
      expect(differing.map((difference) => difference.key)).toEqual([key(9)])
      expect(new Set(differing[0]?.replicas.map(({ digest }) => digest))).toEqual(new Set(['d10', null]))
    }
  })

  it('asks again for what had an input between one answer and the next', async () => {
    const late = filled(10).set(key(3), row(2))
    let asked = 0
    const catchesUp = (): void => {
      if (++asked === 3) late.set(key(3), row(4))
    }
    expect(await compare(replica('a', filled(10)), replica('b', late, { before: catchesUp }))).toMatchObject({
      equal: 10,
      bySample: 0,
      differing: [],
    })
  })

  it('compares what never stands still by digests behind the same input, or says that it could not', async () => {
    const moving = (digests: readonly [number, string][]): Replica => {
      const store = filled(3)
      let seq = 100
      const samples = digests.map(([at, digest]) => ({ seq: at, key: key(1), digest, stateVersion: 1 }))
      return replica('n', store, { samples, before: () => store.set(key(1), row((seq += 1 + digests.length))) })
    }
    const common = [256, 'x'] as [number, string]
    expect(await compare(moving([common]), moving([common, [512, 'y']]))).toMatchObject({
      equal: 3,
      bySample: 1,
      moving: 0,
    })
    expect(
      await compare(
        moving([common]),
        moving([
          [300, 'y'],
          [512, 'y'],
        ]),
      ),
    ).toMatchObject({ equal: 2, moving: 1 })
    const differs = await compare(
      moving([common]),
      moving([
        [256, 'z'],
        [512, 'y'],
      ]),
    )
    expect(differs.differing.map((difference) => difference.key)).toEqual([key(1)])
  })

  it('does not compare states of different versions, nor types that a node does not run', async () => {
    const other = filled(4)
      .set(key(0), row(1, 'migrated', 2))
      .set(key(2), row(0, ''))
    expect(await compare(replica('a', filled(4)), replica('b', other))).toMatchObject({
      equal: 2,
      incomparable: 2,
      differing: [],
    })
  })

  it('of one node alone has nothing to compare', async () => {
    expect(await compare(replica('a', filled(5)))).toMatchObject({ instances: 5, equal: 5 })
  })
})
