import { describe, expect, it } from 'vitest'
import { debianMirrors, parseSources } from './nats-server/apt-sources.mjs'

const DEB822 = `# comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
`

const ONE_LINE = `# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/tools.gpg] https://tools.example/apt bookworm main
deb http://mirror.example/debian/ bookworm main contrib # the mirror
deb http://mirror.example/debian-security bookworm-security main
deb-src http://source.example/debian bookworm main
`

describe('parseSources', () => {
  it('reads deb822 stanzas, continuation lines included, and leaves out disabled ones', () => {
    expect(parseSources('debian.sources', DEB822).map(({ uri, suites }) => [uri, suites])).toEqual([
      ['http://mirror.example/debian', ['bookworm', 'bookworm-updates']],
      ['http://mirror.example/debian-security', ['bookworm-security']],
    ])
  })

  it('reads one-line entries with their options', () => {
    expect(parseSources('sources.list', ONE_LINE)).toEqual([
      {
        uri: 'https://tools.example/apt',
        suites: ['bookworm'],
        components: ['main'],
        signedBy: '/etc/apt/keyrings/tools.gpg',
      },
      {
        uri: 'http://mirror.example/debian/',
        suites: ['bookworm'],
        components: ['main', 'contrib'],
        signedBy: undefined,
      },
      {
        uri: 'http://mirror.example/debian-security',
        suites: ['bookworm-security'],
        components: ['main'],
        signedBy: undefined,
      },
    ])
  })

  it('takes no key for a path when Signed-By holds the key itself', () => {
    const text = DEB822.replace(
      '/usr/share/keyrings/debian-archive-keyring.gpg',
      '\n -----BEGIN PGP PUBLIC KEY BLOCK-----',
    )
    expect(parseSources('debian.sources', text)[0]?.signedBy).toBeUndefined()
  })
})

describe('debianMirrors', () => {
  it('puts the archive before third parties and leaves out security', () => {
    const mirrors = debianMirrors(parseSources('sources.list', ONE_LINE), 'bookworm')
    expect(mirrors.map(({ uri }) => uri)).toEqual(['http://mirror.example/debian/', 'https://tools.example/apt'])
  })

  it('finds nothing on a machine of another distribution', () => {
    const text = 'deb http://archive.example/ubuntu noble main universe'
    expect(debianMirrors(parseSources('sources.list', text), undefined)).toEqual([])
  })
})
