/** The world outside: a file that is told of every attempt of an activity, with the id of the call and what it was given. */
import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

import type { ActivityContext } from '@carillon/runtime'

const FAILS_SHARE = 0.03
const MS_MAX = 8

/** Tells the sink, fails now and then, and gives another value each time: what is applied shows which attempt it was. */
export async function attempt(
  activity: string,
  input: object,
  { callId, attempt: number }: Pick<ActivityContext, 'callId' | 'attempt'>,
): Promise<string> {
  const file = process.env['CARILLON_PROOF_SINK']
  if (file === undefined) throw new Error('CARILLON_PROOF_SINK is not set: give the file that is told of effects')
  const by = process.env['CARILLON_NODE_NAME'] ?? 'worker'
  appendFileSync(file, `${JSON.stringify({ callId, activity, attempt: number, input, by, atMs: Date.now() })}\n`)
  await delay(Math.random() * MS_MAX)
  if (Math.random() < FAILS_SHARE) throw new Error('fails now and then')
  return `${process.pid}-${number}-${Math.random()}`
}
