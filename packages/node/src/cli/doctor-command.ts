/** `carillon doctor` */
import { Deadline, openConnection } from '@carillon/client'
import type { NatsConnection } from '@nats-io/transport-node'
import { type Command, Option } from 'commander'

import { addConnectionOptions, type ConnectionFlags, toNatsOptions } from './connection-options.ts'
import { checkCluster } from './doctor-cluster.ts'
import { checkDisk } from './doctor-disk.ts'
import { checkServerAndJetStream, checkSync } from './doctor-server.ts'
import { EXIT_OK, exitCodeOf } from './exit-codes.ts'
import { fail, type Finding, formatFinding, skipped } from './finding.ts'
import { dataDirOption } from './node-command.ts'
import { print, printJson } from './output.ts'

interface DoctorFlags extends ConnectionFlags {
  readonly dataDir: string
  readonly monitorUrl?: string
}

const NEVER = new AbortController().signal
const CLUSTER_CHECKS = ['cluster', 'journal', 'door', 'permissions', 'isolation', 'nodes']

export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description('check the server, the cluster and the disk, and say what to do about what is wrong')
    .addOption(dataDirOption())
    .addOption(
      new Option('--monitor-url <url>', 'the server’s monitoring, for its sync setting: http://<server>:8222').env(
        'CARILLON_MONITOR_URL',
      ),
    )
  addConnectionOptions(command, '5s')
    .addHelpText(
      'after',
      `\nIt changes nothing. Exit code 0 unless a check fails; then that of the first failure.\n\nExamples:\n  $ carillon doctor\n  $ carillon doctor --servers nats://a:4222 --monitor-url http://a:8222 --json`,
    )
    .action(async (flags: DoctorFlags) => {
      const findings = await examine(flags)
      const failure = findings.find(({ verdict }) => verdict === 'fail')
      if (flags.json === true) printJson({ ok: failure === undefined, findings })
      else for (const finding of findings) for (const line of formatFinding(finding)) print(line)
      process.exitCode = failure === undefined ? EXIT_OK : exitCodeOf(failure)
    })
}

async function examine(flags: DoctorFlags): Promise<readonly Finding[]> {
  const local = [await checkSync(flags.monitorUrl), checkDisk(flags.dataDir)]
  let nc: NatsConnection
  try {
    const target = { servers: flags.servers, name: 'carillon-doctor', nats: toNatsOptions(flags) }
    nc = await openConnection(target, new Deadline(flags.connectTimeout), NEVER)
  } catch (error) {
    const rest = ['jetstream', ...CLUSTER_CHECKS].map((check) => skipped(check, 'there is no connection'))
    return [fail('server', error, 'SERVER_UNREACHABLE'), ...rest, ...local]
  }
  try {
    const server = await checkServerAndJetStream(nc, flags.jsPrefix)
    const hasJetStream = server.every(({ verdict }) => verdict === 'ok' || verdict === 'warn')
    const cluster = hasJetStream
      ? await checkCluster(nc, flags.namespace, flags.jsPrefix)
      : CLUSTER_CHECKS.map((check) => skipped(check, 'JetStream is needed'))
    return [...server, ...cluster, ...local]
  } finally {
    await nc.close()
  }
}
