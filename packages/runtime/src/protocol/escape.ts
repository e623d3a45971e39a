/** Text as letters, digits, `_`, `-` and `=`: every other byte of its UTF-8 becomes `=XX` (upper-case hex). */
const utf8 = new TextEncoder()
const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const HEX = Array.from({ length: 256 }, (_, byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`)

export function escapeText(text: string): string {
  let out = ''
  for (const byte of utf8.encode(text)) out += isPlain(byte) ? String.fromCharCode(byte) : HEX[byte]
  return out
}

/** @throws TypeError when what the text stands for is not UTF-8. */
export function unescapeText(text: string): string {
  const bytes: number[] = []
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '=') {
      bytes.push(Number.parseInt(text.slice(i + 1, i + 3), 16))
      i += 2
    } else bytes.push(text.charCodeAt(i))
  }
  return utf8Strict.decode(Uint8Array.from(bytes))
}

function isPlain(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x5f ||
    byte === 0x2d
  )
}
