import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { expect, it } from 'vitest'

import { provideNatsServer } from './nats-server.mjs'

const FLOOD = fileURLToPath(new URL('../bench/src/flood.ts', import.meta.url))
const SIGNALS = 21_000

interface Figures {
  readonly cases: readonly {
    readonly way: string
    readonly looks: readonly { readonly signals: number; readonly tailRows: number }[]
    readonly state: { readonly orders: number }
  }[]
  readonly problems: readonly string[]
}

// So few signals are all warm-up, so whether costs are flat is for `npm run bench:flood` to say; what was applied and kept is not.
it(
  'the flood applies every signal once in each way, and keeps a tail only where nothing cuts it',
  { timeout: 120_000 },
  async () => {
    const { path } = await provideNatsServer()
    const args = [
      '--conditions=source',
      '--import',
      import.meta.resolve('tsx'),
      FLOOD,
      '--json',
      '--signals',
      String(SIGNALS),
      '--looks',
      '3',
    ]
    const env = { ...process.env, CARILLON_NATS_SERVER: path }
    const { stdout } = await promisify(execFile)(process.execPath, args, { env }).catch((error: unknown) => {
      if (typeof error === 'object' && error !== null && 'stdout' in error && error.stdout !== '')
        return error as { stdout: string }
      throw error
    })
    const { cases, problems } = JSON.parse(stdout) as Figures
    expect(cases.map(({ way, state }) => [way, state.orders])).toEqual([
      ['handlers', SIGNALS],
      ['renewing', SIGNALS],
      ['endless', SIGNALS],
    ])
    const tails = cases.map(({ looks }) => looks.at(-1)?.tailRows ?? 0)
    expect(tails[0]).toBe(0)
    expect(tails[1]).toBeLessThan(2000)
    expect(tails[2]).toBeGreaterThanOrEqual(SIGNALS)
    expect(problems.filter((problem) => !problem.includes('times that of the first'))).toEqual([])
  },
)
