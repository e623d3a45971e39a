import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

import { mockActivities, TestWorld } from '@carillon/runtime/testing'
import { type Browser, chromium as playwright, type Page } from 'playwright-core'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'

import { type Backend, describeOnBothBackends, type Setup } from '../testing/describe-on-both-backends.ts'
import { expenseActivities } from './activities.ts'
import { Expense } from './contract.ts'
import { type Inbox, openInbox, type TaskRow } from './inbox-server.ts'
import { tasksOf } from './tasks.ts'
import { createExpense, expense } from './workflow.ts'

const TRAIN = { employee: 'ann', purpose: 'a <b>train</b> ticket', amountCents: 8_900 }

const BROWSER_MS_MAX = 10_000

function post() {
  return mockActivities(Expense, { notify: async () => {} })
}

describeOnBothBackends('an expense', { workflows: [expense], activities: [expenseActivities] }, (open) => {
  it('is decided by whoever has claimed it', async () => {
    const e1 = (await open()).workflow(Expense, 'e-1')
    await e1.start(TRAIN)
    await expect(e1.update('complete', { by: 'max' })).rejects.toThrow('claim it first')
    expect(await e1.update('claim', { by: 'max' })).toMatchObject({ group: 'managers', claimedBy: 'max' })
    await expect(e1.update('claim', { by: 'moe' })).rejects.toThrow('max has claimed it')
    await expect(e1.update('complete', { by: 'moe' })).rejects.toThrow("it is max's now")
    await e1.update('return', { by: 'max' })
    await e1.update('claim', { by: 'moe' })
    await e1.update('complete', { by: 'moe', comment: 'fine' })
    expect(await e1.result({ timeoutMs: 10_000 })).toEqual({ outcome: 'approved', by: 'moe', comment: 'fine' })
  })

  it('is rejected with a reason, and not by the one who asks', async () => {
    const e1 = (await open()).workflow(Expense, 'e-1')
    await e1.start(TRAIN)
    await expect(e1.update('claim', { by: 'ann' })).rejects.toMatchObject({ code: 'UPDATE_REJECTED' })
    await e1.update('claim', { by: 'max' })
    await expect(e1.update('reject', { by: 'max', comment: ' ' })).rejects.toThrow('say why')
    await e1.update('reject', { by: 'max', comment: 'take the bike' })
    expect(await e1.result({ timeoutMs: 10_000 })).toMatchObject({ outcome: 'rejected', by: 'max' })
  })

  it('is decided by the link in the message, once, and not by the link of a group whose time is over', async () => {
    const activities = post()
    const backend = await open({ workflows: [createExpense({ deadline: '400 ms' })], activities: [activities] })
    const e1 = backend.workflow(Expense, 'e-1')
    await e1.start(TRAIN)
    await e1.update('claim', { by: 'max' })
    await backend.until(async () => (await e1.query('task')).group === 'directors')
    await backend.until(() => activities.calls('notify').length >= 2)
    const [managers = '', directors = ''] = [...new Set(activities.calls('notify').map(({ input }) => input.token))]
    await expect(backend.completeTask(managers, { by: 'max', approved: true })).rejects.toMatchObject({
      code: 'CLOSED',
    })
    await backend.completeTask(directors, { by: 'dora', approved: true, comment: 'by mail' })
    expect(await e1.result({ timeoutMs: 10_000 })).toEqual({ outcome: 'approved', by: 'dora', comment: 'by mail' })
    await expect(backend.completeTask(directors, { by: 'dirk', approved: false })).rejects.toMatchObject({
      code: 'CLOSED',
    })
  })

  it('goes to the directors when the managers let the deadline pass, and expires when they do too', async () => {
    const activities = post()
    const backend = await open({ workflows: [createExpense({ deadline: '300 ms' })], activities: [activities] })
    const e1 = backend.workflow(Expense, 'e-1')
    await e1.start(TRAIN)
    await e1.update('claim', { by: 'max' })
    await backend.until(async () => (await e1.query('task')).group === 'directors')
    expect((await e1.query('task')).claimedBy).toBeUndefined()
    expect(await e1.result({ timeoutMs: 10_000 })).toEqual({ outcome: 'expired', by: undefined, comment: '' })
    expect(activities.calls('notify').map(({ input }) => input.group)).toEqual(['managers', 'directors'])
    expect(activities.calls('notify').map(({ input }) => input.isEscalation)).toEqual([false, true])
  })
})

describeOnBothBackends('the task inbox', { workflows: [expense], activities: [expenseActivities] }, (open) => {
  let inbox: Inbox
  afterEach(() => inbox.close())

  async function openPage(setup: Partial<Setup> = {}): Promise<Backend> {
    const backend = await open(setup)
    const tasks = tasksOf(
      (id) => backend.workflow(Expense, id),
      (options) => backend.list(options),
      (token, decision) => backend.completeTask(token, decision),
    )
    inbox = await openInbox(tasks)
    return backend
  }

  async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    const json = { 'content-type': 'application/json' }
    const response = await fetch(`${inbox.url}${path}`, {
      method,
      ...(body === undefined ? {} : { headers: json, body: JSON.stringify(body) }),
    })
    return { status: response.status, body: await response.json() }
  }

  it('starts, lists, claims and completes over HTTP', async () => {
    const backend = await openPage()
    expect((await call('POST', '/api/tasks/e-1', TRAIN)).status).toBe(201)
    expect((await call('POST', '/api/tasks/e-2', { ...TRAIN, employee: 'bob' })).status).toBe(201)
    const all = (await call('GET', '/api/tasks')).body as TaskRow[]
    expect(all.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toMatchObject([
      { id: 'e-1', employee: 'ann', decision: null },
      { id: 'e-2', employee: 'bob', decision: null },
    ])
    expect(await call('POST', '/api/tasks/e-1/claim', { by: 'max' })).toMatchObject({
      status: 200,
      body: { claimedBy: 'max' },
    })
    const listed = async (query: string): Promise<readonly string[]> =>
      ((await call('GET', `/api/tasks?${query}`)).body as TaskRow[]).map(({ id }) => id).sort()
    expect(await listed('claimedBy=max')).toEqual(['e-1'])
    expect(await listed('group=managers')).toEqual(['e-1', 'e-2'])
    expect(await listed('group=managers&claimedBy=moe')).toEqual([])
    expect(await call('POST', '/api/tasks/e-1/complete', { by: 'moe' })).toMatchObject({ status: 409 })
    expect((await call('POST', '/api/tasks/e-1/complete', { by: 'max' })).status).toBe(200)
    expect((await call('GET', '/api/tasks')).body).toHaveLength(1)
    const e1 = backend.workflow(Expense, 'e-1')
    expect(await e1.result({ timeoutMs: 10_000 })).toMatchObject({ outcome: 'approved', by: 'max' })
  })

  it('decides by a link over HTTP', async () => {
    const activities = post()
    const backend = await openPage({ activities: [activities] })
    await call('POST', '/api/tasks/e-1', TRAIN)
    await backend.until(() => activities.calls('notify').length > 0)
    const link = `/api/decide/${encodeURIComponent(activities.calls('notify')[0]?.input.token ?? '')}`
    expect((await call('POST', link, { by: 'max' })).status).toBe(400)
    expect((await call('POST', link, { by: 'max', approved: false, comment: 'walk' })).status).toBe(200)
    expect((await call('POST', link, { by: 'moe', approved: true })).status).toBe(409)
    expect((await call('POST', '/api/decide/expense.e-1.nonsense', { by: 'moe', approved: true })).status).toBe(400)
    const e1 = backend.workflow(Expense, 'e-1')
    expect(await e1.result({ timeoutMs: 10_000 })).toMatchObject({ outcome: 'rejected', by: 'max', comment: 'walk' })
  })

  it('refuses bad requests with a status and a reason', async () => {
    await openPage()
    expect(await call('POST', '/api/tasks/e-1', { employee: 'ann' })).toMatchObject({ status: 400 })
    expect((await call('POST', '/api/tasks/nobody/claim', { by: 'max' })).status).toBe(404)
    expect((await call('POST', '/api/tasks/e-1/burn', { by: 'max' })).status).toBe(404)
    expect((await call('POST', '/api/tasks/e-1/claim', [])).status).toBe(400)
    const form = await fetch(`${inbox.url}/api/tasks/e-1/claim`, { method: 'POST', body: '{"by":"max"}' })
    expect(form.status).toBe(415)
  })

  it('serves a page that runs its own script only', async () => {
    await openPage()
    const page = await fetch(inbox.url)
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'")
    expect(await page.text()).toContain('<h1>Expenses to decide</h1>')
    for (const [path, kind] of [
      ['/inbox.js', 'text/javascript'],
      ['/inbox.css', 'text/css'],
    ] as const)
      expect((await fetch(`${inbox.url}${path}`)).headers.get('content-type')).toBe(kind)
  })

  it('is used in a browser: texts stay texts, one claims, another is refused, the first approves', async ({ skip }) => {
    const chromium = await findChromium()
    if (chromium === undefined) return skip('there is no Chromium here: set CARILLON_CHROMIUM to its path')
    const backend = await openPage()
    await call('POST', '/api/tasks/e-1', TRAIN)
    const browser = await playwright.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] })
    onTestFinished(() => browser.close())

    const max = await visit(browser, inbox.url, 'max')
    const moe = await visit(browser, inbox.url, 'moe')
    expect(await max.locator('h2').textContent()).toBe('ann: a <b>train</b> ticket')
    expect(await max.locator('.facts').textContent()).toContain('89.00, for managers')
    expect(await max.getByRole('button', { name: 'Approve' }).isDisabled()).toBe(true)

    await max.getByRole('button', { name: 'Claim' }).click()
    await max.locator('.facts', { hasText: 'claimed by max' }).waitFor()
    // The other page has not looked since: the click goes out, and is refused.
    await moe.getByRole('button', { name: 'Claim' }).click()
    await moe.locator('#message', { hasText: 'max has claimed it' }).waitFor()

    await max.getByLabel('Comment').fill('have a nice trip')
    await max.getByRole('button', { name: 'Approve' }).click()
    await max.getByText('Nothing waits for a decision.').waitFor()
    const e1 = backend.workflow(Expense, 'e-1')
    expect(await e1.result({ timeoutMs: 10_000 })).toMatchObject({ outcome: 'approved', by: 'max' })
  })
})

/** A page of one's own, with the first task shown, that does not look again by itself. */
async function visit(browser: Browser, url: string, name: string): Promise<Page> {
  const page = await (await browser.newContext()).newPage()
  page.setDefaultTimeout(BROWSER_MS_MAX)
  await page.addInitScript('window.setInterval = () => 0')
  await page.goto(url)
  await page.getByLabel('I am').fill(name)
  await page.getByRole('listitem').waitFor()
  return page
}

describe('the deadline of an expense', () => {
  it('is two days for each group', async () => {
    const world = await TestWorld.open({ workflows: [expense], activities: [post()] })
    const e1 = world.workflow(Expense, 'e-1')
    await e1.start(TRAIN)
    await world.skip('47 hours')
    expect((await e1.query('task')).group).toBe('managers')
    await world.skip('2 hours')
    expect((await e1.query('task')).group).toBe('directors')
    await e1.update('claim', { by: 'dora' })
    await world.skip('46 hours')
    await e1.update('complete', { by: 'dora' })
    expect(await e1.result()).toMatchObject({ outcome: 'approved', by: 'dora' })
    await world.close()
  })
})

async function findChromium(): Promise<string | undefined> {
  const names = ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const given = process.env['CARILLON_CHROMIUM']
  const paths = [
    ...(given === undefined ? [] : [given]),
    ...folders.flatMap((folder) => names.map((name) => join(folder, name))),
  ]
  for (const path of paths) {
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  return undefined
}
