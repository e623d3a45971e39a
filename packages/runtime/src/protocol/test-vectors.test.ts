/** What ids.test.ts and partition.test.ts leave of the vectors, which the Python producer of docs/protocol.md has computed. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

import { decodeToken, encodeToken, fnv1a32, type InputKind, type Partition, Subjects } from './index.ts'

interface Vectors {
  readonly refusedIds: readonly { readonly id: string; readonly rule: string }[]
  readonly refusedTokens: readonly { readonly token: string; readonly rule: string }[]
  readonly hashes: readonly { readonly ascii: string; readonly fnv1a32: number }[]
  readonly partitions: readonly {
    readonly tokens: readonly [type: string, id: string]
    readonly hash: number
  }[]
  readonly subjects: readonly {
    readonly kind: InputKind
    readonly type: string
    readonly id: string
    readonly name: string
    readonly subject: string
    readonly door?: string
  }[]
}

const vectors = JSON.parse(await readFile(join(import.meta.dirname, 'test-vectors.json'), 'utf8')) as Vectors
const subjects = new Subjects('carillon', 64)

describe('the test vectors', () => {
  it.each(vectors.refusedIds)('refuse an id: $rule', ({ id }) => {
    expect(() => encodeToken(id)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
  })

  it.each(vectors.refusedTokens)('refuse the token "$token": $rule', ({ token }) => {
    expect(() => decodeToken(token)).toThrow(expect.objectContaining({ code: 'INVALID_ID' }))
  })

  it.each(vectors.hashes)('hash "$ascii" to $fnv1a32', ({ ascii, fnv1a32: hash }) => {
    expect(fnv1a32(ascii)).toBe(hash)
  })

  it.each(vectors.partitions)('hash the tokens $tokens to $hash', ({ tokens, hash }) => {
    expect(fnv1a32(tokens.join(''))).toBe(hash)
  })

  it.each(vectors.subjects)('address $subject', ({ kind, type, id, name, subject, door }) => {
    const [typeToken, idToken] = [encodeToken(type), encodeToken(id)]
    const nameToken = name === '' ? undefined : encodeToken(name)
    expect(subjects.log(typeToken, idToken, kind, nameToken)).toBe(subject)
    expect(subjects.parseLog(subject)).toEqual({
      partition: Number(subject.split('.')[2]) as Partition,
      key: `${typeToken}.${idToken}`,
      kind,
      name,
    })
    if (door !== undefined) expect(subjects.door(typeToken, idToken, encodeToken(name))).toBe(door)
  })
})
