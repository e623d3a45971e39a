import { access, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'

const DOCS = join(import.meta.dirname, '..', '..', '..', 'docs')
/** Above these, somebody has cut the page or broken its format. */
const RULES_MIN = 60
const SECTIONS_MIN = 9
/** A title that is nearly all made from values would match anything. */
const FIXED_CHARS_MIN = 8

/**
 * A rule is an item of a list, and the brackets at its end name its tests: `([file](path): "title", "title"; [file](path): "title")`. A title without
 * a file in front of it belongs to the file that the introduction of its section links.
 */
interface Rule {
  readonly section: string
  readonly sentence: string
  readonly tests: readonly NamedTest[]
}

interface NamedTest {
  /** Relative to docs/; undefined when there is none in front of the title, nor in the introduction. */
  readonly file: string | undefined
  /** Undefined: the file as a whole. */
  readonly title: string | undefined
}

let rules: readonly Rule[]

beforeAll(async () => {
  rules = parseRules(await readFile(join(DOCS, 'semantics.md'), 'utf8'))
})

describe('docs/semantics.md', () => {
  it('names a test for every rule', () => {
    expect(rules.length).toBeGreaterThan(RULES_MIN)
    expect(new Set(rules.map(({ section }) => section)).size).toBeGreaterThan(SECTIONS_MIN)
    expect(rules.filter(({ tests }) => tests.length === 0).map(describeRule)).toEqual([])
  })

  it('names files that are there, and a file for each title', async () => {
    const broken: string[] = []
    for (const rule of rules)
      for (const { file, title } of rule.tests) {
        if (file === undefined) broken.push(`${describeRule(rule)}: "${title}" has no file`)
        else if (!(await exists(file))) broken.push(`${describeRule(rule)}: ${file} is not there`)
      }
    expect(broken).toEqual([])
  })

  it('names tests that are in their files, by their titles', async () => {
    const missing: string[] = []
    for (const rule of rules)
      for (const { file, title } of rule.tests) {
        if (file === undefined || title === undefined) continue
        if (!(await titlesIn(file)).some((known) => isTitle(title, known)))
          missing.push(`${describeRule(rule)}: ${file} has no test "${title}"`)
      }
    expect(missing).toEqual([])
  })
})

describe('the parser of docs/semantics.md', () => {
  const page = [
    '# Semantics',
    '## One',
    'Behind it stands [a.test.ts](../a.test.ts) where no other file is named.',
    '- The first. ("does a"; "does b", by far)',
    '- The second,',
    '  over two lines.',
    '  ([b.test.ts](../b.test.ts): "does c")',
    '- The third. ("does d")',
    '- Nothing is named.',
    '## Two',
    '- No file (code) is named. ("lost")',
  ].join('\n')

  it('gives each rule its titles, with the file in front of them or else that of the section', () => {
    expect(parseRules(page).map(({ tests }) => tests)).toEqual([
      [
        { file: '../a.test.ts', title: 'does a' },
        { file: '../a.test.ts', title: 'does b' },
      ],
      [
        { file: '../b.test.ts', title: undefined },
        { file: '../b.test.ts', title: 'does c' },
      ],
      [{ file: '../a.test.ts', title: 'does d' }],
      [],
      [{ file: undefined, title: 'lost' }],
    ])
  })

  it('reads the titles of a file, and knows one that is made from values', () => {
    const source = `it('is a\\'s', () => {})\nit.each([1])(\n  \`takes \${1}, or so\`, () => {})\nitem("is no title")`
    const [plain = '', made = '', ...more] = parseTitles(source)
    expect([plain, made, more]).toEqual(["is a's", 'takes ${1}, or so', []])
    expect(isTitle("is a's", plain)).toBe(true)
    expect(isTitle('is a', plain)).toBe(false)
    expect(isTitle('takes 17, or so', made)).toBe(true)
    expect(isTitle('takes 17', made)).toBe(false)
    expect(isTitle('anything', '%s it')).toBe(false)
  })
})

function parseRules(markdown: string): readonly Rule[] {
  return markdown
    .split(/^## /m)
    .slice(1)
    .flatMap((text) => parseSection(text))
}

function parseSection(text: string): readonly Rule[] {
  const [intro = '', ...items] = text.split(/^- /m)
  const section = intro.slice(0, intro.indexOf('\n')).trim()
  return items.map((item) => parseRule(section, item, lastLinkOf(intro)))
}

/** What stands in brackets at the end of a rule names its tests. */
function parseRule(section: string, item: string, fileOfSection: string | undefined): Rule {
  const oneLine = item.split(/\n\n/)[0]?.replaceAll(/\s+/g, ' ').trim() ?? ''
  const sentenceEnd = /[.:] \((?=\[|")/.exec(oneLine)
  const sentence = sentenceEnd === null ? oneLine : oneLine.slice(0, sentenceEnd.index + 1)
  const named = sentenceEnd === null ? '' : oneLine.slice(sentenceEnd.index + 2)
  let file = fileOfSection
  const tests: NamedTest[] = []
  for (const [, link, title] of named.matchAll(/\]\(([^)#]+)\)|"([^"]+)"/g)) {
    if (link !== undefined) file = link
    tests.push({ file, title })
  }
  return { section, sentence, tests }
}

function lastLinkOf(text: string): string | undefined {
  return [...text.matchAll(/\]\(([^)#]+\.test[^)#]*)\)/g)].at(-1)?.[1]
}

function describeRule({ section, sentence }: Rule): string {
  return `${section}: ${sentence}`
}

async function exists(file: string): Promise<boolean> {
  return access(resolve(DOCS, file)).then(
    () => true,
    () => false,
  )
}

const titlesByFile = new Map<string, Promise<readonly string[]>>()

function titlesIn(file: string): Promise<readonly string[]> {
  const known = titlesByFile.get(file)
  if (known !== undefined) return known
  const titles = readFile(resolve(DOCS, file), 'utf8').then(parseTitles, () => [])
  titlesByFile.set(file, titles)
  return titles
}

/** The first argument of each `it(…)`, `describe(…)` and the like, and of what `it.each(…)` gives; of a type test, what it exports. */
function parseTitles(source: string): readonly string[] {
  const calls =
    /(?:\b(?:it|test|describe)(?:\.\w+)*|\]|\))\(\s*(?:'((?:\\.|[^'\\\n])*)'|"((?:\\.|[^"\\\n])*)"|`((?:\\.|[^`\\])*)`)/g
  const names = /^export (?:const|function) (\w+)/gm
  return [
    ...[...source.matchAll(calls)].map(([, single, double, template]) =>
      (single ?? double ?? template ?? '').replaceAll(/\\(.)/g, '$1'),
    ),
    ...[...source.matchAll(names)].map(([, name = '']) => name),
  ]
}

/** A title that is made from values, by `${…}` or `%s`, is named with any of them, or without; so is one that ends with them in brackets. */
function isTitle(named: string, title: string): boolean {
  const fixed = title.replace(/ \([^()]*%[sdijo][^()]*\)$/, '').split(/\$\{[^}]*\}|%[sdijo]/)
  if (fixed.length > 1 && fixed.join('').trim().length < FIXED_CHARS_MIN) return false
  const pattern = fixed.map((part) => part.trim().replaceAll(/[^\w ]/g, '\\$&')).join('.*')
  return new RegExp(`^${pattern}$`).test(named)
}
