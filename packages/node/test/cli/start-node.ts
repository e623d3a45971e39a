/** `carillon node` as a process, with the workflows of a folder. */
import { type CliProcess, startCli } from './cli-process.ts'
import type { WorkflowFolder } from './workflow-folder.ts'

export interface StartNodeOptions {
  readonly servers: string
  readonly folder: WorkflowFolder
  /** Its name in the folder; default `data`. */
  readonly data?: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export function startNodeProcess({
  servers,
  folder,
  data = 'data',
  args = [],
  env = {},
}: StartNodeOptions): CliProcess {
  const own = ['--servers', servers, '--data-dir', folder.file(data), '--workflows', folder.file('workflow.ts')]
  return startCli(['node', ...own, ...args], { env })
}
