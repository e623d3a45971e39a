// Reads apt's own lists of sources, in both of their forms, and finds the Debian mirrors in them.

/** Suites of Debian proper, but for the code name, which comes from os-release. */
const DEBIAN_SUITES = new Set(['oldstable', 'stable', 'testing', 'unstable', 'sid'])

/**
 * The deb entries of one file of sources.
 *
 * @param {string} name the file's name; its ending decides the form (`.sources` is deb822, else one line each)
 * @param {string} text
 * @returns {{ uri: string, suites: string[], components: string[], signedBy: string | undefined }[]}
 */
export function parseSources(name, text) {
  return name.endsWith('.sources') ? parseDeb822(text) : parseOneLine(text)
}

/**
 * The mirrors that carry Debian's main archive, likeliest first; security archives and third parties are left out.
 *
 * @param {ReturnType<typeof parseSources>} entries
 * @param {string | undefined} codename of the running release, such as `bookworm`
 */
export function debianMirrors(entries, codename) {
  const isDebian = (suite) => suite === codename || DEBIAN_SUITES.has(suite)
  const mirrors = entries.filter(
    ({ uri, suites, components }) => !uri.includes('security') && components.includes('main') && suites.some(isDebian),
  )
  const byUri = new Map(mirrors.map((mirror) => [mirror.uri, mirror]))
  // Third parties name their suites after Debian's too; a path that ends in /debian is the archive's own habit.
  return [...byUri.values()].sort((a, b) => Number(isArchivePath(b.uri)) - Number(isArchivePath(a.uri)))
}

function isArchivePath(uri) {
  return /\/debian\/?$|^mirror\+file:/.test(uri)
}

function parseDeb822(text) {
  return text
    .split(/\n[ \t]*\n/)
    .map(parseStanza)
    .filter((fields) => words(fields, 'types').includes('deb') && fields.get('enabled')?.toLowerCase() !== 'no')
    .flatMap((fields) =>
      words(fields, 'uris').map((uri) => ({
        uri,
        suites: words(fields, 'suites'),
        components: words(fields, 'components'),
        signedBy: keyringPath(fields.get('signed-by')),
      })),
    )
}

function parseStanza(text) {
  const fields = new Map()
  let last
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue
    const field = /^([A-Za-z-]+):\s*(.*)$/.exec(line)
    if (field) {
      last = field[1].toLowerCase()
      fields.set(last, field[2].trim())
    } else if (last && /^\s+\S/.test(line)) {
      fields.set(last, `${fields.get(last)} ${line.trim()}`)
    }
  }
  return fields
}

function parseOneLine(text) {
  return text.split('\n').flatMap((line) => {
    const entry = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line)
    if (!entry) return []
    const [, options = '', uri, suite, components] = entry
    const signedBy = keyringPath(/signed-by=(\S+)/.exec(options)?.[1])
    return [{ uri, suites: [suite], components: components.trim().split(/\s+/), signedBy }]
  })
}

/** Signed-By also takes a fingerprint or a whole key in the text; only the path of one file is of use here. */
function keyringPath(value) {
  return value !== undefined && /^\/[^\s,]+$/.test(value) ? value : undefined
}

function words(fields, name) {
  return (fields.get(name) ?? '').split(/\s+/).filter((word) => word !== '')
}
