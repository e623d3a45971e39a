/** What `carillon cluster verify` found, as lines for people. */
import type { ReportedDifference, VerifyReport } from './cluster-verify.ts'
import { formatRanges } from './cluster-view.ts'
import { oneLine } from './output.ts'

export function formatReport(report: VerifyReport): string[] {
  const {
    instances,
    equal,
    bySample,
    moving,
    incomparable,
    refolded,
    notRefolded,
    differingCount,
    differing,
    alone,
    failed,
  } = report
  const lines = differing.flatMap(formatDifference)
  if (differingCount > differing.length) lines.push(`… and ${differingCount - differing.length} more that differ`)
  for (const { partition, reason } of failed)
    lines.push(oneLine(`! partition ${partition} was not looked at: ${reason}`))
  if (alone.length > 0) lines.push(`on one node only, so not compared: partitions ${formatRanges(alone)}`)
  if (moving > 0) lines.push(`${moving} took inputs faster than they could be compared: try again`)
  if (incomparable > 0) lines.push(`${incomparable} are of types or versions of states that not all nodes have`)
  for (const [reason, count] of Object.entries(notRefolded))
    lines.push(oneLine(`${count} were not folded again: ${reason}`))
  const sampled = bySample === 0 ? '' : ` (${bySample} of them busy ones, by digests behind the same input)`
  const folded = refolded === 0 ? '' : `, ${refolded} as the journal makes them`
  lines.push(`${instances} instances: ${equal} equal${sampled}${folded}, ${differingCount} differ`)
  return lines
}

function formatDifference({ type, id, partition, replicas, journal }: ReportedDifference): string[] {
  const head = oneLine(`! ${type}/${id} differs, partition ${partition}`)
  const of = replicas.map(({ node, build, seq, digest }) =>
    oneLine(`${node} (${build}): ${digest === null ? 'has no such instance' : `${digest} as of seq ${seq}`}`),
  )
  return journal === undefined
    ? [head, ...indented(of)]
    : [head, ...indented(of), `    the journal: ${journal.digest} as of seq ${journal.seq}`]
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `    ${line.trim()}`)
}
