/** JSON payloads from the command line, or from stdin. */
import { CarillonError } from '@carillon/runtime'
import { decodePayload, PAYLOAD_BYTES_MAX, quote } from '@carillon/runtime/protocol'

/** JSON of a payload may be longer than its msgpack, by escapes and spaces, but not without end. */
const STDIN_BYTES_MAX = 8 * PAYLOAD_BYTES_MAX

/**
 * Parses a payload argument: JSON, `-` for JSON on stdin, absent for none. It is read by the rules of the wire.
 *
 * @throws INVALID_PAYLOAD when it is not JSON. @throws PAYLOAD_TOO_LARGE when stdin does not end.
 */
export async function readPayload(argument: string | undefined): Promise<unknown> {
  if (argument === undefined) return undefined
  const text = argument === '-' ? await readStdin() : argument
  try {
    return decodePayload(Buffer.from(text), 'json')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const hint = `write JSON, and quote it for the shell: '{"amount": 3}', '"text"', or - to read it from stdin`
    throw new CarillonError('INVALID_PAYLOAD', `the payload ${quote(text)} cannot be read (${reason}): ${hint}`, {
      cause: error,
    })
  }
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    size += chunk.length
    if (size > STDIN_BYTES_MAX)
      throw new CarillonError(
        'PAYLOAD_TOO_LARGE',
        `stdin holds over ${STDIN_BYTES_MAX} bytes: a payload has at most ${PAYLOAD_BYTES_MAX}`,
      )
  }
  return Buffer.concat(chunks).toString('utf8')
}
