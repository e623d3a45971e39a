/** `carillon start`, `signal`, `update`: inputs for one instance. */
import { type Command, Option } from 'commander'

import { withClient } from './client.ts'
import { print, toJson } from './output.ts'
import { readPayload } from './payload.ts'
import { printAccepted, type SendFlags, sendOptions, toSendOptions, waitOption } from './send-options.ts'

interface StartFlags extends SendFlags {
  readonly ifRunning: 'fail' | 'use' | 'terminate'
}

interface SignalFlags extends SendFlags {
  readonly start?: string | true
}

export function addSendCommands(program: Command): void {
  addStart(program)
  addSignal(program)
  addUpdate(program)
}

function addStart(program: Command): void {
  sendOptions(program.command('start'), 'start an instance')
    .argument('[input]', 'its input: JSON, or - for stdin')
    .addOption(
      new Option('--if-running <what>', 'what to do when it runs already')
        .choices(['fail', 'use', 'terminate'])
        .default('fail'),
    )
    .addOption(waitOption())
    .addHelpText(
      'after',
      `\nExamples:\n  $ carillon start loyalty customer-42 '{"email": "a@example.com"}' --wait applied`,
    )
    .action(async (type: string, id: string, text: string | undefined, flags: StartFlags) => {
      const input = await readPayload(text)
      await withClient(flags, async (carillon) => {
        printAccepted(
          await carillon.workflow(type, id).start(input, { ...toSendOptions(flags), ifRunning: flags.ifRunning }),
          flags,
        )
      })
    })
}

function addSignal(program: Command): void {
  sendOptions(program.command('signal'), 'send a signal to an instance')
    .argument('<name>', 'the signal’s name')
    .argument('[payload]', 'JSON, or - for stdin')
    .option('--start [input]', 'start the instance with this input (JSON) unless it runs, in the same step')
    .addOption(waitOption())
    .addHelpText(
      'after',
      `
Examples:
  $ carillon signal loyalty customer-42 purchase '{"orderId": "o-1", "amount": 30}' --id o-1
  $ carillon signal loyalty customer-42 close --wait applied
  $ jq -c .order order.json | carillon signal loyalty customer-42 purchase -`,
    )
    .action(async (type: string, id: string, name: string, text: string | undefined, flags: SignalFlags) => {
      const payload = await readPayload(text)
      const input = await readPayload(flags.start === true ? undefined : flags.start)
      await withClient(flags, async (carillon) => {
        const handle = carillon.workflow(type, id)
        const options = toSendOptions(flags)
        const sent =
          flags.start === undefined
            ? handle.signal(name, payload, options)
            : handle.signalWithStart({ input, signal: { name, payload } }, options)
        printAccepted(await sent, flags)
      })
    })
}

function addUpdate(program: Command): void {
  sendOptions(program.command('update'), 'send an update to an instance, and print what its handler returns')
    .argument('<name>', 'the update’s name')
    .argument('[input]', 'JSON, or - for stdin')
    .addHelpText('after', `\nExamples:\n  $ carillon update loyalty customer-42 redeem '{"points": 100}'`)
    .action(async (type: string, id: string, name: string, text: string | undefined, flags: SendFlags) => {
      const input = await readPayload(text)
      await withClient(flags, async (carillon) => {
        const value = await carillon.workflow(type, id).update(name, input, { id: flags.id, timeoutMs: flags.timeout })
        print(toJson(value, flags.json === true ? undefined : 2))
      })
    })
}
