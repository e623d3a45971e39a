import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, expect, it } from 'vitest'

import { type Delivery, FilePartner, readPartner } from './partner.ts'

const signal = new AbortController().signal
let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-partner-'))
  path = join(folder, 'partner.ndjson')
})

afterEach(() => rm(folder, { recursive: true, force: true }))

function level(key: string): Delivery {
  return { key, customer: 'ann', kind: 'level', body: { level: 'gold' } }
}

it('acts upon the first delivery of a key and drops its repeats', async () => {
  const partner = await FilePartner.open({ path })
  for (const key of ['a', 'b', 'a', 'a']) await partner.deliver(level(key), signal)
  await partner.close()
  const book = await readPartner(path)
  expect(book.accepted.map(({ key }) => key)).toEqual(['a', 'b'])
  expect(book.repeated).toBe(2)
})

it('loses no delivery behind one that a crash cut short', async () => {
  const before = await FilePartner.open({ path })
  await before.deliver(level('a'), signal)
  await before.close()
  await appendFile(path, '\n{"key":"b","cust')
  const after = await FilePartner.open({ path })
  await after.deliver(level('b'), signal)
  await after.close()
  const book = await readPartner(path)
  expect(book).toMatchObject({ repeated: 0, torn: 1 })
  expect(book.accepted.map(({ key }) => key)).toEqual(['a', 'b'])
})

it('gives up the wait for an answer when the call is aborted, with the delivery in the file', async () => {
  const partner = await FilePartner.open({ path, answerMs: 60_000 })
  await expect(partner.deliver(level('a'), AbortSignal.timeout(20))).rejects.toThrow('aborted')
  await partner.close()
  expect((await readPartner(path)).accepted).toHaveLength(1)
})
