/**
 * A rollout over many hosts. Runs on the nodes.
 *
 * Signals are handled while installations run: a handler only notes what is wanted, and `run` acts upon it at its next await.
 */
import { type Context, implement } from '@carillon/runtime'

import { Deployment, type Outcome, type Phase } from './contract.ts'

interface State {
  readonly version: string
  readonly previous: string
  phase: Phase
  waiting: string[]
  running: string[]
  done: string[]
  failed: { readonly host: string; readonly reason: string }[]
}

type DeploymentContext = Context<typeof Deployment.shape, State>

export const deployment = implement(Deployment, {
  state: ({ version, previous, hosts }): State => ({
    version,
    previous,
    phase: 'rolling-out',
    waiting: [...new Set(hosts)],
    running: [],
    done: [],
    failed: [],
  }),
  on: {
    pause(ctx) {
      if (ctx.state.phase === 'rolling-out') ctx.state.phase = 'paused'
    },
    continue(ctx) {
      if (ctx.state.phase !== 'paused') return
      ctx.state.phase = 'rolling-out'
      ctx.state.waiting = [...ctx.state.failed.map(({ host }) => host), ...ctx.state.waiting]
      ctx.state.failed = []
    },
    rollback(ctx) {
      ctx.state.phase = 'rolling-back'
    },
  },
  async run(ctx, { width }) {
    // As many lanes as hosts at once; each takes the next host when it is done with one.
    await Promise.all(Array.from({ length: width }, () => rollOut(ctx)))
    return ctx.state.phase === 'rolling-back' ? rollBack(ctx) : rolledOut(ctx)
  },
  queries: {
    progress: ({ phase, done, running, failed, waiting }) => ({
      phase,
      done,
      running,
      failed,
      waiting: waiting.length,
    }),
  },
})

/** One lane. It ends when nothing is left, in any lane, or a rollback is wanted. */
async function rollOut(ctx: DeploymentContext): Promise<void> {
  for (;;) {
    await ctx.condition(() => isOver(ctx.state) || (ctx.state.phase === 'rolling-out' && ctx.state.waiting.length > 0))
    const host = ctx.state.phase === 'rolling-out' ? ctx.state.waiting.shift() : undefined
    if (host !== undefined) await installOn(ctx, host)
    else if (isOver(ctx.state)) return
  }
}

/** A host that fails pauses the rollout: somebody looks, and continues or rolls back. */
async function installOn(ctx: DeploymentContext, host: string): Promise<void> {
  ctx.state.running.push(host)
  try {
    await ctx.activities.install({ host, version: ctx.state.version })
    ctx.state.done.push(host)
  } catch (error) {
    ctx.state.failed.push({ host, reason: error instanceof Error ? error.message : String(error) })
    if (ctx.state.phase === 'rolling-out') ctx.state.phase = 'paused'
  }
  ctx.state.running = ctx.state.running.filter((other) => other !== host)
}

function isOver({ phase, waiting, running, failed }: State): boolean {
  return phase === 'rolling-back' || waiting.length + running.length + failed.length === 0
}

/** Last first, one after the other. It is tried for as long as it takes: there is nothing to fall back to. */
async function rollBack(ctx: DeploymentContext): Promise<Outcome> {
  const touched = [...ctx.state.done, ...ctx.state.failed.map(({ host }) => host)].toReversed()
  for (const host of touched)
    await ctx.activities.install(
      { host, version: ctx.state.previous },
      { retry: { attempts: 1_000_000, max: '1 minute' } },
    )
  return { outcome: 'rolled-back', hosts: touched }
}

function rolledOut(ctx: DeploymentContext): Outcome {
  return { outcome: 'rolled-out', hosts: ctx.state.done }
}
