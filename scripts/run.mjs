// The one entry of `npm test`, `npm run demo`, `npm run example`, `npm run bench`, `npm run proof` and `npm run check`: prepares what the task needs,
// then runs it. Works on a machine that has only Node.js and npm.

import { build, installDependencies, installNatsServer, nodeProblem } from './bootstrap.mjs'
import { check } from './check.mjs'
import { exitCodeOf, runProgram } from './program.mjs'
import { test } from './test.mjs'

const DEADLINE_MS = 28 * 60_000
const NEVER_MS = 0
const REPEATED_SIGNAL_MS = 1000
const PARENT_WATCH_MS = 500

/** `prepare` is what must be in place; `run` resolves with the exit code. */
const TASKS = {
  setup: { prepare: ['install', 'nats-server', 'build'], deadlineMs: NEVER_MS, run: async () => 0 },
  'demo:cluster': {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('packages/examples/dist/loyalty/cluster-demo.js'),
  },
  demo: {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('packages/examples/dist/loyalty/demo.js'),
  },
  example: {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('packages/examples/dist/run-example/main.js'),
  },
  bench: { prepare: ['install', 'nats-server', 'build'], deadlineMs: NEVER_MS, run: program('bench/dist/main.js') },
  'bench:flood': {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('bench/dist/flood.js'),
  },
  'bench:failover': {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('bench/dist/failover.js'),
  },
  'bench:million': {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('bench/dist/million.js'),
  },
  'bench:capacity': {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('bench/dist/capacity.js'),
  },
  'bench:plan': { prepare: ['install', 'build'], deadlineMs: NEVER_MS, run: program('bench/dist/plan.js') },
  'bench:snapshots': {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('bench/dist/snapshots.js'),
  },
  'bench:ring': { prepare: ['install', 'build'], deadlineMs: NEVER_MS, run: program('bench/dist/ring.js') },
  proof: {
    prepare: ['install', 'nats-server', 'build'],
    deadlineMs: NEVER_MS,
    run: program('packages/proof/dist/main.js'),
  },
  check: {
    prepare: ['install'],
    deadlineMs: DEADLINE_MS,
    run: async (context) => ((await check(context)).length === 0 ? 0 : 1),
  },
  test: { prepare: ['install', 'nats-server'], deadlineMs: DEADLINE_MS, runsUnprepared: true, run: test },
}

process.exitCode = await main(process.argv.slice(2))

async function main([name, ...args]) {
  const problem = nodeProblem()
  if (problem) return complain(problem)
  const task = Object.hasOwn(TASKS, name ?? '') ? TASKS[name] : undefined
  if (!task) return complain(`Usage: node scripts/run.mjs <${Object.keys(TASKS).join('|')}> [arguments]`)

  const stop = stopWhenTold(task.deadlineMs)
  const context = { args, env: { ...process.env }, signal: stop.signal, isReady: true }
  try {
    context.isReady = await prepare(task.prepare, context)
    if (!context.isReady && !task.runsUnprepared) return stop.signal.aborted ? exitCodeOf(stop.signal.reason) : 1
    const exitCode = await task.run(context)
    return stop.signal.aborted ? exitCodeOf(stop.signal.reason) : exitCode
  } finally {
    stop.close()
  }
}

async function prepare(needs, { env, signal }) {
  const steps = {
    install: () => installDependencies(signal),
    'nats-server': () => installNatsServer(env),
    build: () => build(signal),
  }
  for (const need of needs) {
    if (signal.aborted || !(await steps[need]())) return false
  }
  return true
}

function program(path) {
  return async ({ args, env, signal }) =>
    (await runProgram(process.execPath, [path, ...args], { env, signal })).exitCode
}

/**
 * A signal, the deadline, or the end of the npm that started this process, stops everything.
 *
 * The first signal asks the children to stop; a later one ends everything at once. Not the next moment's:
 * a Ctrl-C reaches this process twice, from the terminal and from npm.
 */
function stopWhenTold(deadlineMs) {
  const controller = new AbortController()
  let firstAtMs
  const onSignal = (name) => {
    if (firstAtMs !== undefined && performance.now() - firstAtMs > REPEATED_SIGNAL_MS) process.exit(exitCodeOf(name))
    firstAtMs ??= performance.now()
    controller.abort(name)
  }
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const name of names) process.on(name, onSignal)
  const deadline =
    deadlineMs === NEVER_MS
      ? undefined
      : setTimeout(() => controller.abort(`the deadline of ${deadlineMs / 60_000} minutes`), deadlineMs)
  // Killed without a chance to pass a signal on, npm would leave this process and its children behind.
  const parent = process.ppid
  const watch =
    process.env['npm_lifecycle_event'] === undefined
      ? undefined
      : setInterval(() => {
          if (process.ppid !== parent) controller.abort('SIGHUP')
        }, PARENT_WATCH_MS)
  const close = () => {
    clearTimeout(deadline)
    clearInterval(watch)
    for (const name of names) process.removeListener(name, onSignal)
  }
  return { signal: controller.signal, close }
}

function complain(message) {
  console.error(message)
  return 2
}
