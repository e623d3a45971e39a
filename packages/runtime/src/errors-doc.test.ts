import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'

import { ERROR_CODES } from './errors.ts'

const PAGE = join(import.meta.dirname, '..', '..', '..', 'docs', 'errors.md')
const PARTS = ['Meaning', 'Cause', 'What to do'] as const
/** A part that is shorter says nothing. */
const CHARS_MIN = 15

let page: ErrorsPage

beforeAll(async () => {
  page = parsePage(await readFile(PAGE, 'utf8'))
})

describe('docs/errors.md', () => {
  it('has one section for each code, in the order of the table, and no others', () => {
    expect(page.sections.map(({ code }) => code)).toEqual(Object.keys(ERROR_CODES))
  })

  it.each(Object.entries(ERROR_CODES))('says of %s that its disposition is %s', (code, disposition) => {
    expect(sectionOf(code).text).toContain(`Disposition: \`${disposition}\`.`)
  })

  it.each(Object.keys(ERROR_CODES))('says what %s means, what causes it, and what to do', (code) => {
    const { text } = sectionOf(code)
    for (const part of PARTS) expect(partOf(text, part).length, `${part} of ${code}`).toBeGreaterThan(CHARS_MIN)
  })

  it('explains every disposition that a code has', () => {
    const explained = [...page.intro.matchAll(/^\| `([a-z]+)` \| /gm)].map(([, name]) => name)
    expect(new Set(explained)).toEqual(new Set<string>(Object.values(ERROR_CODES)))
  })
})

interface Section {
  readonly code: string
  readonly text: string
}

interface ErrorsPage {
  readonly intro: string
  readonly sections: readonly Section[]
}

function parsePage(markdown: string): ErrorsPage {
  const [intro = '', ...rest] = markdown.split(/^## /m)
  return { intro, sections: rest.map(parseSection) }
}

function parseSection(text: string): Section {
  const end = text.indexOf('\n')
  return { code: text.slice(0, end).trim(), text: text.slice(end) }
}

function sectionOf(code: string): Section {
  const section = page.sections.find((candidate) => candidate.code === code)
  if (section === undefined) throw new Error(`docs/errors.md has no section ${code}: add one`)
  return section
}

/** The text behind `**Name.**`, up to the next part. */
function partOf(text: string, name: string): string {
  const [, behind = ''] = text.split(`**${name}.**`)
  return (behind.split('**')[0] ?? '').trim()
}
