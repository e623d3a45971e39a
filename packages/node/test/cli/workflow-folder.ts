/** Folders as authors have them: a workflow file, and the runtime where Node finds it. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const RUNTIME = fileURLToPath(new URL('../../../runtime', import.meta.url))

/** A workflow type with one of everything. */
export const COUNTER = `
import { existsSync } from 'node:fs'
import { defineWorkflow, implement, implementActivities, type } from '@carillon/runtime'

interface Add { readonly n: number }
const isBroken = process.env['TEST_BROKEN'] === '1'

export const Counter = defineWorkflow('counter', {
  input: type<{ total: number }>(),
  result: type<{ total: number }>(),
  signals: { add: type<Add>(), close: type<void>(), give_up: type<void>(), trip: type<void>(), hold: type<void>(), forget: type<void>(), spin: type<void>(), label: type<string>() },
  attributes: { label: 'text', size: 'number', at: 'time', isBig: 'bool' },
  updates: { take: { input: type<Add>(), output: type<{ left: number }>() } },
  queries: { total: { output: type<number>() }, plus: { input: type<Add>(), output: type<number>() } },
  activities: { hold: {}, forget: {} },
})

export default implement(Counter, {
  startOnSignal: true,
  state: (input) => ({ total: input?.total ?? 0 }),
  on: {
    add(ctx, { n }) { ctx.state.total += n },
    close(ctx) { ctx.complete({ total: ctx.state.total }) },
    give_up(ctx) { ctx.fail(new Error('given up')) },
    trip(ctx) { if (isBroken) throw new Error('the handler is broken'); ctx.state.total += 1000 },
    async hold(ctx) { await ctx.activities.hold(); ctx.state.total += 100 },
    async forget(ctx) { await ctx.activities.forget() },
    label(ctx, label) { ctx.attributes.set({ label, size: label.length, at: 86_400_000, isBig: label.length > 5 }) },
    spin() { console.error('spinning'); for (;;); },
  },
  updates: { take(ctx, { n }) { ctx.state.total -= n; return { left: ctx.state.total } } },
  queries: { total: (state) => state.total, plus: (state, { n }) => state.total + n },
})

export const activities = implementActivities(Counter, {
  async hold() {
    console.error('holding')
    while (!existsSync(process.env['TEST_RELEASE'] ?? '')) await new Promise((resolve) => setTimeout(resolve, 20))
    console.error('released')
  },
  forget: async () => { void Promise.reject(new Error('nobody awaited this')) },
})
`

export interface WorkflowFolder {
  readonly path: string
  file(name: string): string
  write(name: string, text: string): void
  /** Gives the folder a runtime of its own, as a second installation of the package would. */
  copyRuntime(): void
  remove(): void
}

/** Makes a folder with `workflow.ts` in it, and without a package.json: a plain file is enough. */
export function makeWorkflowFolder(workflow = COUNTER): WorkflowFolder {
  const path = mkdtempSync(join(tmpdir(), 'carillon-cli-'))
  mkdirSync(join(path, 'node_modules/@carillon'), { recursive: true })
  symlinkSync(RUNTIME, join(path, 'node_modules/@carillon/runtime'))
  const folder: WorkflowFolder = {
    path,
    file: (name) => join(path, name),
    write(name, text) {
      mkdirSync(dirname(join(path, name)), { recursive: true })
      writeFileSync(join(path, name), text)
    },
    copyRuntime() {
      const copy = join(path, 'node_modules/@carillon/runtime')
      rmSync(copy)
      for (const part of ['src', 'package.json']) cpSync(join(RUNTIME, part), join(copy, part), { recursive: true })
      symlinkSync(join(RUNTIME, 'node_modules'), join(copy, 'node_modules'))
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  }
  folder.write('workflow.ts', workflow)
  return folder
}
