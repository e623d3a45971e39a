/** What every `Snapshots` does, as tests. Imports vitest, so it is not part of the package's `testing` entry: import it by its path. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { PART_BYTES_MAX, type Snapshots } from '../ports/index.ts'
import type { Partition } from '../protocol/index.ts'

/** One place of snapshots under test. */
export interface SnapshotsUnderTest {
  readonly snapshots: Snapshots
  dispose(): Promise<void>
}

const P = 3 as Partition
const OTHER = 13 as Partition

/** Runs the contract of the port against what `open` makes, which is empty. */
export function snapshotsConformance(name: string, open: () => Promise<SnapshotsUnderTest>): void {
  describe(`${name} as snapshots`, () => {
    let place: SnapshotsUnderTest
    let snapshots: Snapshots

    beforeEach(async () => {
      place = await open()
      snapshots = place.snapshots
    })

    afterEach(() => place.dispose())

    it('has no head at first', async () => {
      expect(await snapshots.head(P)).toBeUndefined()
    })

    it('law 7: replaces a head only where the one that is expected stands', async () => {
      const first = await snapshots.replaceHead(P, text('one'), 0)
      expect(first).toBeGreaterThan(0)
      expect(await snapshots.replaceHead(P, text('late'), 0)).toBeUndefined()
      const second = await snapshots.replaceHead(P, text('two'), first ?? 0)
      expect(second).toBeGreaterThan(first ?? 0)
      expect(await snapshots.replaceHead(P, text('stale'), first ?? 0)).toBeUndefined()
      expect(await headOf(P)).toEqual(['two', second])
    })

    it('gives a head to exactly one of those who want it at once', async () => {
      const revisions = await Promise.all(['a', 'b', 'c', 'd'].map((one) => snapshots.replaceHead(P, text(one), 0)))
      expect(revisions.filter((revision) => revision !== undefined)).toHaveLength(1)
      const winner = 'abcd'[revisions.findIndex((revision) => revision !== undefined)]
      expect((await headOf(P))[0]).toBe(winner)
    })

    it('keeps partitions apart', async () => {
      await snapshots.replaceHead(P, text('three'), 0)
      await snapshots.putPart(P, 's', 0, text('of three'))
      expect(await snapshots.head(OTHER)).toBeUndefined()
      await snapshots.replaceHead(OTHER, text('thirteen'), 0)
      const last = await snapshots.putPart(OTHER, 's', 0, text('of thirteen'))
      await snapshots.removeBefore(OTHER, last + 1)
      expect(await partsOf(P, 's', 1)).toEqual(['of three'])
      expect((await headOf(P))[0]).toBe('three')
    })

    it('gives the parts of a segment in order, each as it was stored', async () => {
      const large = new Uint8Array(PART_BYTES_MAX).map((_, at) => at % 251)
      const places = []
      for (let index = 0; index < 40; index++)
        places.push(await snapshots.putPart(P, 'a-1', index, index === 7 ? large : text(`part ${index}`)))
      expect(places).toEqual(places.toSorted((a, b) => a - b))
      await snapshots.putPart(P, 'a-10', 0, text('another'))
      const parts = []
      for await (const part of snapshots.parts(P, 'a-1', 40)) parts.push(part)
      expect(parts[7]).toEqual(large)
      expect(parts.filter((_, index) => index !== 7).map(asText)).toEqual(
        Array.from({ length: 40 }, (_, index) => `part ${index}`).filter((_, index) => index !== 7),
      )
    })

    it('may be left in the middle of a segment', async () => {
      for (let index = 0; index < 20; index++) await snapshots.putPart(P, 's', index, text(`part ${index}`))
      for await (const part of snapshots.parts(P, 's', 20)) if (asText(part) === 'part 3') break
      expect(await partsOf(P, 's', 2)).toEqual(['part 0', 'part 1'])
    })

    it('says that a part is missing', async () => {
      await snapshots.putPart(P, 's', 0, text('first'))
      await snapshots.putPart(P, 's', 2, text('third'))
      await expect(partsOf(P, 's', 3)).rejects.toMatchObject({ code: 'SNAPSHOT_DAMAGED' })
      await expect(partsOf(P, 'never', 1)).rejects.toMatchObject({ code: 'SNAPSHOT_DAMAGED' })
    })

    it('storing a part again changes nothing', async () => {
      await snapshots.putPart(P, 's', 0, text('same'))
      await snapshots.putPart(P, 's', 0, text('same'))
      expect(await partsOf(P, 's', 1)).toEqual(['same'])
    })

    it('removes what was stored before a place, and nothing else', async () => {
      const revision = await snapshots.replaceHead(P, text('head'), 0)
      await snapshots.putPart(P, 'old', 0, text('old'))
      await snapshots.putPart(P, 'older', 0, text('older'))
      const first = await snapshots.putPart(P, 'new', 0, text('new 0'))
      await snapshots.putPart(P, 'new', 1, text('new 1'))
      await snapshots.removeBefore(P, first)
      await snapshots.removeBefore(P, first)
      expect(await partsOf(P, 'new', 2)).toEqual(['new 0', 'new 1'])
      await expect(partsOf(P, 'old', 1)).rejects.toMatchObject({ code: 'SNAPSHOT_DAMAGED' })
      expect(await headOf(P)).toEqual(['head', revision])
    })

    it('removes one segment', async () => {
      await snapshots.putPart(P, 'a', 0, text('a'))
      await snapshots.putPart(P, 'b', 0, text('b'))
      await snapshots.remove(P, 'a')
      await snapshots.remove(P, 'a')
      await expect(partsOf(P, 'a', 1)).rejects.toMatchObject({ code: 'SNAPSHOT_DAMAGED' })
      expect(await partsOf(P, 'b', 1)).toEqual(['b'])
    })

    it('refuses a part that is too large, and a name that is none', async () => {
      await expect(snapshots.putPart(P, 's', 0, new Uint8Array(PART_BYTES_MAX + 1))).rejects.toThrow(TypeError)
      await expect(snapshots.putPart(P, 'a.b', 0, text('x'))).rejects.toThrow(TypeError)
    })

    async function headOf(partition: Partition): Promise<readonly [string, number | undefined]> {
      const head = await snapshots.head(partition)
      return [head === undefined ? '' : asText(head.bytes), head?.revision]
    }

    async function partsOf(partition: Partition, segment: string, count: number): Promise<string[]> {
      const parts: string[] = []
      for await (const part of snapshots.parts(partition, segment, count)) parts.push(asText(part))
      return parts
    }
  })
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

function asText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
