/**
 * The task inbox: a page and a small JSON interface over it, on node:http.
 *
 * Owns: the HTTP server. Does not own: the tasks. Whatever it answers comes from the instances; it keeps nothing.
 *
 * It takes everybody's word for who they are. In production, put your sign-in in front and take `by` from there.
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

import { codeOf } from '@carillon/runtime'

import type { Decision, Task } from './contract.ts'

export interface NewExpense {
  readonly employee: string
  readonly purpose: string
  readonly amountCents: number
  readonly deadlineMs?: number | undefined
}

/** Where the tasks are: a client in production, a test world in tests. */
export interface Tasks {
  /** Ids of the tasks that are open: all, or those of a group, or of whom has claimed them. */
  open(where: { group?: string; claimedBy?: string }): Promise<readonly string[]>
  start(id: string, expense: NewExpense): Promise<unknown>
  task(id: string): Promise<Task>
  act(id: string, action: Action, input: { by: string; comment: string }): Promise<Task>
  /** Decides by the token of a link. */
  decide(token: string, decision: { by: string; approved: boolean; comment?: string }): Promise<unknown>
}

export const ACTIONS = ['claim', 'return', 'complete', 'reject'] as const
export type Action = (typeof ACTIONS)[number]

export interface TaskRow extends Omit<Task, 'decision'> {
  readonly id: string
  readonly decision: Decision | null
}

export interface Inbox {
  readonly url: string
  close(): Promise<void>
}

const BODY_BYTES_MAX = 16 * 1024
const HOST = '127.0.0.1'
const STATUS_OF: Readonly<Record<string, number>> = {
  NOT_FOUND: 404,
  CLOSED: 409,
  UPDATE_REJECTED: 409,
  ALREADY_STARTED: 409,
  INVALID_PAYLOAD: 400,
  INVALID_ID: 400,
  TIMEOUT: 503,
  NO_NODE: 503,
}
const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
} as const

/** @param port 0: a free one. */
export async function openInbox(tasks: Tasks, port = 0): Promise<Inbox> {
  const [page, script, style] = await Promise.all(
    ['inbox.html', 'inbox.js', 'inbox.css'].map((name) => readFile(new URL(`page/${name}`, pageBase()))),
  )
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://inbox')
    const route = `${request.method} ${pathname}`
    if (route === 'GET /') return void response.writeHead(200, PAGE_HEADERS).end(page)
    if (route === 'GET /inbox.js')
      return void response.writeHead(200, { 'content-type': 'text/javascript' }).end(script)
    if (route === 'GET /inbox.css') return void response.writeHead(200, { 'content-type': 'text/css' }).end(style)
    answer(tasks, request, pathname, searchParams).then(
      ({ status, body }) => send(response, status, body),
      (error: unknown) => send(response, STATUS_OF[codeOf(error) ?? ''] ?? 500, { error: messageOf(error) }),
    )
  })
  server.listen(port, HOST)
  await once(server, 'listening')
  return { url: `http://${HOST}:${portOf(server)}`, close: () => close(server) }
}

/** The page stands beside the sources, and is not compiled. */
function pageBase(): URL {
  return new URL('../../src/human-tasks/', import.meta.url)
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

async function answer(
  tasks: Tasks,
  request: IncomingMessage,
  pathname: string,
  search: URLSearchParams,
): Promise<Answer> {
  const [, api, collection, id, action, ...rest] = pathname.split('/').map((part) => decodeURIComponent(part))
  if (api !== 'api' || rest.length > 0) return notFound()
  if (collection === 'decide' && id !== undefined && action === undefined) return decide(tasks, request, id)
  if (collection !== 'tasks') return notFound()
  if (request.method === 'GET' && id === undefined) return { status: 200, body: await openTasks(tasks, search) }
  if (id === undefined) return notFound()
  if (request.method === 'GET' && action === undefined) return { status: 200, body: row(id, await tasks.task(id)) }
  if (request.method !== 'POST') return notFound()
  const { body, refusal } = await readJson(request)
  if (refusal !== undefined) return refusal
  if (action === undefined) {
    await tasks.start(id, body as never)
    return { status: 201, body: row(id, await tasks.task(id)) }
  }
  if (!isAction(action)) return notFound()
  return { status: 200, body: row(id, await tasks.act(id, action, body as never)) }
}

/** What a link in a message leads to: its token is all that is needed. */
async function decide(tasks: Tasks, request: IncomingMessage, token: string): Promise<Answer> {
  if (request.method !== 'POST') return notFound()
  const { body, refusal } = await readJson(request)
  if (refusal !== undefined) return refusal
  await tasks.decide(token, body as never)
  return { status: 200, body: {} }
}

async function openTasks(tasks: Tasks, search: URLSearchParams): Promise<readonly TaskRow[]> {
  const [group, claimedBy] = [search.get('group'), search.get('claimedBy')]
  const open = await tasks.open({ ...(group === null ? {} : { group }), ...(claimedBy === null ? {} : { claimedBy }) })
  const rows = await Promise.all(open.map(async (id) => row(id, await tasks.task(id))))
  return rows.filter(({ decision }) => decision === null)
}

function row(id: string, task: Task): TaskRow {
  return { ...task, id, decision: task.decision ?? null }
}

async function readJson(request: IncomingMessage): Promise<{ readonly body?: object; readonly refusal?: Answer }> {
  // A form of another site cannot send this type: it would need leave that this server never gives.
  if (request.headers['content-type'] !== 'application/json')
    return { refusal: { status: 415, body: { error: 'send application/json' } } }
  const body = await readBody(request)
  if (body !== undefined) return { body }
  return { refusal: { status: 400, body: { error: `send a JSON object of at most ${BODY_BYTES_MAX} bytes` } } }
}

async function readBody(request: IncomingMessage): Promise<object | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) return undefined
    chunks.push(chunk)
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString())
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function notFound(): Answer {
  return { status: 404, body: { error: 'there is nothing here' } }
}

function isAction(text: string): text is Action {
  return (ACTIONS as readonly string[]).includes(text)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a listening server has a port')
  return address.port
}

async function close(server: Server): Promise<void> {
  server.close()
  server.closeAllConnections()
  await once(server, 'close').catch(() => undefined)
}
