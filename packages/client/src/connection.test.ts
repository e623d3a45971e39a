import { describe, expect, it } from 'vitest'

import { parseServers, redact } from './connection.ts'

describe('servers', () => {
  it.each([
    ['localhost', ['nats://localhost'], {}],
    ['a:1, b:2', ['nats://a:1', 'nats://b:2'], {}],
    [['tls://a:1', 'nats://[::1]:4222'], ['tls://a:1', 'nats://[::1]:4222'], {}],
    ['nats://u:p@a:1,nats://u:p@b:2', ['nats://a:1', 'nats://b:2'], { user: 'u', pass: 'p' }],
    ['nats://t0ken@a:1,b:2', ['nats://a:1', 'nats://b:2'], { token: 't0ken' }],
    ['nats://u:p%40%3A@a:1', ['nats://a:1'], { user: 'u', pass: 'p@:' }],
  ])('of %j are read', (given, servers, credentials) => {
    expect(parseServers(given)).toEqual({ servers, credentials })
  })

  it.each([
    ['cannot parse URL nats://bob:s3cret@host:1 here', 'cannot parse URL nats://host:1 here'],
    ['bob:s3cret@host:1', 'host:1'],
    ['at nats://t0ken@a,nats://b', 'at nats://a,nats://b'],
    ['nothing to hide at nats://host:4222', 'nothing to hide at nats://host:4222'],
    ['a@b and c: d@e', 'a@b and c: d@e'],
  ])('lose their credentials in %j', (text, redacted) => {
    expect(redact(text)).toBe(redacted)
  })
})
