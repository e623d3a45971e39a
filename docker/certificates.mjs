/** Certificates for TLS between clients and servers, and between servers: for those who have no authority of their own. */
import { isIP } from 'node:net'

import { generate } from 'selfsigned'

const DAY_MS = 24 * 60 * 60 * 1000
const AUTHORITY_DAYS = 3650
/** The longest that common verifiers take of a server. */
const SERVER_DAYS = 825
const CURVE = /** @type {const} */ ({ keyType: 'ec', curve: 'P-256', algorithm: 'sha256' })
/** Of the names in a certificate: a DNS name, an address. */
const DNS = 2
const IP = 7

/**
 * @param {string} name
 * @returns {Promise<{ certificate: string, key: string }>} both as PEM
 */
export async function makeAuthority(name) {
  const made = await generate([{ name: 'commonName', value: name }], {
    ...CURVE,
    notAfterDate: new Date(Date.now() + AUTHORITY_DAYS * DAY_MS),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })
  return { certificate: made.cert, key: made.private }
}

/**
 * A certificate that its owner may show as a server and, to other servers, as a client.
 *
 * @param {{ certificate: string, key: string }} authority
 * @param {readonly string[]} names DNS names and addresses
 */
export async function makeCertificate(authority, names) {
  const altNames = names.map((name) => (isIP(name) === 0 ? { type: DNS, value: name } : { type: IP, ip: name }))
  const made = await generate([{ name: 'commonName', value: names[0] ?? 'nats' }], {
    ...CURVE,
    notAfterDate: new Date(Date.now() + SERVER_DAYS * DAY_MS),
    ca: { key: authority.key, cert: authority.certificate },
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      { name: 'subjectAltName', altNames },
    ],
  })
  return { certificate: made.cert, key: made.private }
}
