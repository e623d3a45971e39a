/** Rows as text columns, for people. */
import { oneLine } from './output.ts'

export interface Column<Row> {
  readonly title: string
  readonly cell: (row: Row) => string | number | undefined
  /** Characters at most; the rest is cut. */
  readonly max?: number
}

const CELL_CHARS_MAX = 80
const GAP = '  '

/** Lines with a header. The last column is not padded. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  const cells = rows.map((row) =>
    columns.map((column) => cut(String(column.cell(row) ?? ''), column.max ?? CELL_CHARS_MAX)),
  )
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((line) => line[i]?.length ?? 0)))
  const titles = columns.map(({ title }) => title)
  return [titles, ...cells].map((line) =>
    line
      .map((cell, i) => (i === line.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join(GAP)
      .trimEnd(),
  )
}

/** Lines of names and values. What is undefined is left out. */
export function formatFields(fields: Readonly<Record<string, string | number | undefined>>): string[] {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined)
  const width = Math.max(0, ...present.map(([name]) => name.length))
  return present.map(([name, value]) => `${name.padEnd(width)}${GAP}${oneLine(String(value))}`)
}

function cut(text: string, max: number): string {
  const line = oneLine(text)
  return line.length > max ? `${line.slice(0, max - 1)}…` : line
}
