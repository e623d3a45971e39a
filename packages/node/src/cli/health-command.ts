/** `carillon health`: for health checks of containers and supervisors. */
import { CarillonError } from '@carillon/runtime'
import type { Command } from 'commander'

import { jsonOption } from './connection-options.ts'
import { dataDirOption } from './node-command.ts'
import { isRunning, readStatus, SILENT_MS_MAX } from './node-status.ts'
import { print, printJson } from './output.ts'

interface HealthFlags {
  readonly dataDir: string
  readonly json?: boolean
}

export function addHealthCommand(program: Command): void {
  program
    .command('health')
    .description('whether the node with this data folder runs, reacts, and has caught up with the journal')
    .addOption(dataDirOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Exit code 0 when it does, else 8. It looks at this machine only: a node that waits for an unreachable NATS is healthy, restarting it would not help.

Example:
  $ carillon health --data-dir /var/lib/carillon`,
    )
    .action(({ dataDir, json }: HealthFlags) => {
      const status = readStatus(dataDir)
      if (status === undefined || !isRunning(status)) {
        throw new CarillonError(
          'NO_NODE',
          `no node runs with the data folder ${dataDir}: start it, or give its folder by --data-dir`,
        )
      }
      const silentMs = Date.now() - status.heartbeatMs
      if (silentMs > SILENT_MS_MAX) {
        throw new CarillonError(
          'NO_NODE',
          `the node ${status.name} (process ${status.pid}) has been silent for ${silentMs} ms: it hangs, or cannot write to ${dataDir}`,
        )
      }
      if (status.phase !== 'live')
        throw new CarillonError('NO_NODE', `the node ${status.name} (process ${status.pid}) is ${status.phase}`)
      if (json === true) printJson(status)
      else print(`the node ${status.name} (process ${status.pid}) is live`)
    })
}
