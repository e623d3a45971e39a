import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { nkeys } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { type ConnectionFlags, toNatsOptions } from './connection-options.ts'

const SEED = new TextDecoder().decode(nkeys.createUser().getSeed())
const CREDENTIALS = `-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.eyJqdGkiOiJBIn0.sig_nature-
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${SEED}
------END USER NKEY SEED------
`

describe('toNatsOptions', () => {
  let folder: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'carillon-options-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const file = (text: string): string => {
    const path = join(folder, 'secret')
    writeFileSync(path, text)
    return path
  }
  const options = (flags: Partial<ConnectionFlags>, env: NodeJS.ProcessEnv = {}) =>
    toNatsOptions({ servers: '', namespace: '', connectTimeout: 1, ...flags }, env)

  it('takes a seed alone, or between the lines that tools put around it, and credentials', () => {
    expect(options({ nkey: file(`${SEED}\n`) })).toHaveProperty('authenticator')
    expect(options({ nkey: file(`-----BEGIN USER NKEY SEED-----\n${SEED}\n------END-----\n`) })).toHaveProperty(
      'authenticator',
    )
    expect(options({ creds: file(CREDENTIALS) })).toHaveProperty('authenticator')
  })

  it('takes a password and a token from the environment only', () => {
    expect(options({ user: 'ann' }, { CARILLON_PASSWORD: 'p' })).toEqual({ user: 'ann', pass: 'p' })
    expect(options({}, { CARILLON_TOKEN: 't' })).toEqual({ token: 't' })
  })

  it('passes on files of TLS and the prefix of inboxes', () => {
    const path = file('pem')
    expect(options({ tlsCa: path, tlsCert: path, tlsKey: path, inboxPrefix: '_INBOX.a' })).toEqual({
      tls: { ca: 'pem', cert: 'pem', key: 'pem' },
      inboxPrefix: '_INBOX.a',
    })
  })

  it.each([
    [() => options({ nkey: file('SUNOTASEED') }), 'holds no seed of a user’s key'],
    [() => options({ nkey: file(SEED.replace(/^SU/, 'SA')) }), 'holds no seed of a user’s key'],
    [
      () => options({ nkey: file(`${SEED.slice(0, -1)}${SEED.endsWith('A') ? 'B' : 'A'}`) }),
      'holds no seed of a user’s key',
    ],
    [() => options({ creds: file(SEED) }), 'holds no credentials'],
    [() => options({ creds: file(CREDENTIALS.replace(SEED, 'gone')) }), 'holds no credentials'],
    [() => options({ nkey: '/no/such/file' }), 'the file of --nkey cannot be read'],
    [() => options({ nkey: 'a', creds: 'b' }), 'both --creds and --nkey'],
  ])('refuses what is no secret without quoting it: %#', (read, message) => {
    expect(read).toThrow(message)
    expect(read).not.toThrow(SEED.slice(3, 30))
    expect(read).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })
})
