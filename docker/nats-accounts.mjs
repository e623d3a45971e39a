/**
 * Who may do what on the servers, as the accounts of a nats-server configuration.
 *
 * The streams are in one account, and only nodes are in it. Every application has an account of its own, which imports what its role needs and nothing
 * else. It has to be accounts: whoever may publish chooses the reply subject, and the server itself publishes its acknowledgement there. Within one
 * account that would be any subject, also one of the journal on which this user may not publish. Across accounts, the reply stays in the sender's account.
 *
 * @typedef {'device' | 'producer' | 'worker' | 'operator'} ImportingRole
 * @typedef {import('./nats-accounts.d.mts').Spec} Spec
 * @typedef {{ kind: 'service' | 'stream', subject: string, local: string, isMany: boolean }} Import
 */
import { createHash } from 'node:crypto'

const ROLES = ['nodes', 'maintainers', 'devices', 'producers', 'workers', 'operators', 'admins']
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/
const SIZE = /^[1-9][0-9]{0,6}[KMGT]B$/
const NAMESPACE = /^[A-Za-z0-9_-]{1,32}$/
/** As the client names the consumer of an activity. */
const CONSUMER_CHARS_MAX = 200

/**
 * Checks what was read from a file, and fills in what is absent.
 *
 * @param {unknown} value
 * @returns {Spec}
 */
export function parseSpec(value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('the users are not an object')
  const { namespace = 'carillon', servers = [], storage, ...rest } = value
  if (!NAMESPACE.test(namespace))
    throw new Error(`the namespace ${JSON.stringify(namespace)} is not 1 to 32 of A-Z a-z 0-9 _ -`)
  const unknown = Object.keys(rest).find((key) => !ROLES.includes(key))
  if (unknown !== undefined) throw new Error(`${JSON.stringify(unknown)} is no role: use ${ROLES.join(', ')}`)
  const { workers = {}, ...others } = rest
  if (storage !== undefined && !SIZE.test(storage))
    throw new Error(`the storage ${JSON.stringify(storage)} is no size such as "500GB"`)
  const spec = { namespace, servers, storage, workers }
  for (const role of ROLES) if (role !== 'workers') spec[role] = others[role] ?? []
  for (const name of servers)
    if (typeof name !== 'string' || !/^[A-Za-z0-9.:-]+$/.test(name))
      throw new Error(`the server ${JSON.stringify(name)} is no name or address`)
  const names = usersOf(spec).map(({ name }) => name)
  for (const name of names) {
    if (typeof name !== 'string' || !NAME.test(name))
      throw new Error(
        `the name ${JSON.stringify(name)} is not 1 to 32 of a-z 0-9 - that begins and ends with one of a-z 0-9`,
      )
    if (name === 'home') throw new Error('the name home is taken: it is that of the account with the streams')
    if (names.indexOf(name) !== names.lastIndexOf(name))
      throw new Error(`the name ${name} is given twice: every user has a name of its own`)
  }
  for (const activities of Object.values(workers)) for (const activity of activities) parseActivity(activity)
  return spec
}

/**
 * Every user of a spec.
 *
 * @param {Spec} spec
 * @returns {{ name: string, role: string }[]}
 */
export function usersOf(spec) {
  return ROLES.flatMap((role) =>
    (role === 'workers' ? Object.keys(spec.workers) : spec[role]).map((name) => ({ name, role })),
  )
}

/**
 * What a user's process has to be told beside its key.
 *
 * @param {Spec} spec
 * @param {{ name: string, role: string }} user
 */
export function settingsOf(spec, { name, role }) {
  const isInside = role === 'nodes' || role === 'maintainers' || role === 'admins'
  return { inboxPrefix: inboxOf(name), ...(isInside ? {} : { jsPrefix: apiOf(spec) }) }
}

/**
 * The configuration.
 *
 * @param {Spec} spec
 * @param {(name: string) => readonly string[]} keysOf the public keys of a user: two while they are changed
 */
export function formatAccounts(spec, keysOf) {
  const inside = [
    ...spec.nodes.flatMap((name) => formatUsers(keysOf(name), nodePermissions(spec, name))),
    ...spec.maintainers.flatMap((name) => formatUsers(keysOf(name), maintainerPermissions(name))),
  ]
  const outside = importingUsers(spec).map((user) => ({
    user,
    account: `${spec.namespace}-${user.name}`,
    imports: importsOf(spec, user),
  }))
  return `# Made by docker/make-keys.mjs; run it again instead of editing this.
# Public keys only: the seeds stand in the files *.nk beside this one, and belong to their users alone.

system_account: SYS

# What nodes may publish on. It stands here once for all of them.
NODE_PUBLISH: [
${nodeSubjects(spec)
  .map((subject) => `  ${quote(subject)}`)
  .join('\n')}
]

accounts {
  SYS {
    users: [
${spec.admins.flatMap((name) => formatUsers(keysOf(name), undefined)).join('\n')}
    ]
  }

  # The streams, and those who run them. Nobody else connects to this account.
  ${homeOf(spec)} {
    jetstream { max_streams: 16, max_consumers: 4096${spec.storage === undefined ? '' : `, max_file: ${spec.storage}`} }
    users: [
${inside.join('\n')}
    ]
    exports: [
${formatExports(outside).join('\n')}
    ]
  }
${outside.map((account) => formatAccount(spec, account, keysOf)).join('')}}
`
}

/** @param {Spec} spec */
function homeOf({ namespace }) {
  return `${namespace}-home`
}

/** @param {Spec} spec */
function apiOf({ namespace }) {
  return `${namespace}.api`
}

/** @param {string} name */
function inboxOf(name) {
  return `_INBOX.${name}`
}

/**
 * @param {Spec} spec
 * @returns {{ name: string, role: ImportingRole, activities?: readonly string[] }[]}
 */
function importingUsers(spec) {
  return [
    ...spec.devices.map((name) => ({ name, role: /** @type {const} */ ('device') })),
    ...spec.producers.map((name) => ({ name, role: /** @type {const} */ ('producer') })),
    ...Object.entries(spec.workers).map(([name, activities]) => ({
      name,
      role: /** @type {const} */ ('worker'),
      activities,
    })),
    ...spec.operators.map((name) => ({ name, role: /** @type {const} */ ('operator') })),
  ]
}

/** All that a role may do, beside subscribing to its own inbox. */
function importsOf(spec, { name, role, activities = [] }) {
  const outcomes = stream(`${inboxOf(name)}.>`)
  if (role === 'device') return [outcomes, ...door(spec)]
  if (role === 'worker') return [outcomes, ...workerImports(spec, activities)]
  return role === 'producer' ? [outcomes, ...producerImports(spec)] : [outcomes, ...operatorImports(spec)]
}

function door({ namespace: ns }) {
  return [service(`${ns}.signal.*.*.*`)]
}

function record(spec) {
  return [api(spec, `STREAM.MSG.GET.KV_${spec.namespace}-cluster`)]
}

function producerImports(spec) {
  const { namespace: ns } = spec
  const inputs = ['start', 'signal.*', 'update.*', 'cancel'].map((kind) => service(`${ns}.log.*.*.*.${kind}`))
  return [...door(spec), ...record(spec), ...inputs, service(`${ns}.rpc.*`), service(`${ns}.rpc.any.*`)]
}

/** A worker makes no consumers, because one that it makes could deliver where it may not publish: the nodes make them. */
function workerImports(spec, activities) {
  const { namespace: ns } = spec
  const shared = [...record(spec), service(`${ns}.rpc.*`), stream(`$KV.${ns}-cluster.controls`)]
  const own = activities.length === 0 ? [{ consumer: '*', type: '*', activity: '*' }] : activities.map(parseActivity)
  const pulls = [...new Set(own.map(({ consumer }) => consumer))].flatMap((consumer) => [
    api(spec, `CONSUMER.INFO.${ns}-task.${consumer}`),
    api(spec, `CONSUMER.MSG.NEXT.${ns}-task.${consumer}`, true),
    service(`$JS.ACK.${ns}-task.${consumer}.>`),
  ])
  const results = own.map(({ type, activity }) => service(`${ns}.log.*.${type}.*.activity.${activity}`))
  const notices = [...new Set(own.map(({ type }) => type))].map((type) => stream(`${ns}.let-go.${type}`))
  return [...shared, ...pulls, ...results, ...notices]
}

function operatorImports(spec) {
  const { namespace: ns } = spec
  const streams = ['log', 'dead', 'task', 'snap'].map((name) => `${ns}-${name}`)
  return [
    ...producerImports(spec).filter(({ subject }) => !subject.startsWith(`${ns}.rpc.`)),
    service(`${ns}.rpc.>`),
    service(`${ns}.log.*.*.*.admin.*`),
    service(`${ns}.node.ask.*`),
    service(`${ns}.node.ping.*`),
    service(`${ns}.node.discover`, true),
    stream(`${ns}.node.beat`),
    service(`$KV.${ns}-cluster.controls`),
    stream(`$KV.${ns}-cluster.>`),
    api(spec, 'INFO'),
    ...[...streams, `KV_${ns}-cluster`].map((name) => api(spec, `STREAM.INFO.${name}`)),
    ...streams.map((name) => api(spec, `STREAM.MSG.GET.${name}`)),
    ...streams.flatMap((name) => [api(spec, `DIRECT.GET.${name}`, true), api(spec, `DIRECT.GET.${name}.>`, true)]),
    api(spec, `CONSUMER.LIST.${ns}-task`),
    api(spec, `CONSUMER.INFO.${ns}-task.*`),
  ]
}

/** @returns {Import} */
function service(subject, isMany = false) {
  return { kind: 'service', subject, local: subject, isMany }
}

/** JetStream's API, under a prefix: under `$JS.API` an account has its own. */
function api(spec, subject, isMany = false) {
  return {
    kind: /** @type {const} */ ('service'),
    subject: `$JS.API.${subject}`,
    local: `${apiOf(spec)}.${subject}`,
    isMany,
  }
}

/** @returns {Import} */
function stream(subject) {
  return { kind: 'stream', subject, local: subject, isMany: false }
}

/** `<queue>/<type>/<activity>`, plain or as tokens. */
function parseActivity(text) {
  const parts = typeof text === 'string' ? text.split('/') : []
  if (parts.length !== 3 || parts.some((part) => !/^(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+$/.test(part)))
    throw new Error(`${JSON.stringify(text)} is not <queue>/<type>/<activity>, each as it stands in a subject`)
  const [queue, type, activity] = parts
  const name = `${queue}==${type}==${activity}`
  const consumer = name.length <= CONSUMER_CHARS_MAX ? name : createHash('sha256').update(name).digest('hex')
  return { queue, type, activity, consumer }
}

/** Their own namespace, and of JetStream what opens, fills, reads and trims their own streams. No stream can be deleted with it. */
function nodeSubjects({ namespace: ns }) {
  const streams = [`${ns}-log`, `${ns}-dead`, `${ns}-task`, `${ns}-snap`, `KV_${ns}-cluster`]
  const ofStream = (name) => [
    ...['INFO', 'CREATE', 'UPDATE', 'MSG.GET'].map((what) => `$JS.API.STREAM.${what}.${name}`),
    `$JS.API.DIRECT.GET.${name}`,
    `$JS.API.DIRECT.GET.${name}.>`,
    `$JS.API.CONSUMER.CREATE.${name}.>`,
    ...['INFO', 'DELETE', 'MSG.NEXT'].map((what) => `$JS.API.CONSUMER.${what}.${name}.*`),
  ]
  const trimmed = [`${ns}-log`, `${ns}-snap`].map((name) => `$JS.API.STREAM.PURGE.${name}`)
  const answers = ['_INBOX.>', '_R_.>']
  return [`${ns}.>`, `$KV.${ns}-cluster.>`, '$JS.API.INFO', ...streams.flatMap(ofStream), ...trimmed, ...answers]
}

function nodePermissions({ namespace: ns }, name) {
  return { publish: '$NODE_PUBLISH', subscribe: [`${inboxOf(name)}.>`, `${ns}.>`, `$KV.${ns}-cluster.>`] }
}

/** Those who move, restore and back up streams, with the tools of NATS. */
function maintainerPermissions(name) {
  return { publish: ['$JS.API.>', '$JS.SNAPSHOT.>', '$JS.FC.>'], subscribe: [`${inboxOf(name)}.>`, '$JS.EVENT.>'] }
}

function formatUsers(keys, permissions) {
  if (permissions === undefined) return keys.map((key) => `      { nkey: ${key} }`)
  const { publish, subscribe } = permissions
  return keys.map(
    (key) =>
      `      { nkey: ${key}, permissions { publish: ${formatSubjects(publish)}, subscribe: ${formatSubjects(subscribe)} } }`,
  )
}

/** A list, or the name of a variable that holds one. */
function formatSubjects(subjects) {
  return typeof subjects === 'string'
    ? subjects
    : `[\n${subjects.map((subject) => `        ${quote(subject)}`).join('\n')}\n      ]`
}

/** One for each subject: an account that is not named in it cannot import it. */
function formatExports(accounts) {
  const bySubject = new Map()
  for (const { account, imports } of accounts)
    for (const one of imports) {
      const known = bySubject.get(`${one.kind} ${one.subject}`) ?? { one, accounts: [] }
      bySubject.set(`${one.kind} ${one.subject}`, { one, accounts: [...known.accounts, account] })
    }
  return [...bySubject.values()].map(({ one, accounts: named }) => {
    const many = one.isMany ? ', response: stream' : ''
    return `      { ${one.kind}: ${quote(one.subject)}${many}, accounts: [${formatList(named)}] }`
  })
}

function formatAccount(spec, { user: { name, role }, account, imports }, keysOf) {
  const lines = imports.map(({ kind, subject, local }) => {
    const to = local === subject ? '' : `, to: ${quote(local)}`
    return `      { ${kind}: { account: ${quote(homeOf(spec))}, subject: ${quote(subject)} }${to} }`
  })
  const permissions = {
    publish: imports.filter(({ kind }) => kind === 'service').map(({ local }) => local),
    subscribe: [
      `${inboxOf(name)}.>`,
      ...imports
        .filter(({ kind, local }) => kind === 'stream' && !local.startsWith('_INBOX.'))
        .map(({ local }) => local),
    ],
  }
  return `
  # ${role}
  ${account} {
    users: [
${formatUsers(keysOf(name), permissions).join('\n')}
    ]
    imports: [
${lines.join('\n')}
    ]
  }
`
}

function formatList(texts) {
  return texts.map(quote).join(', ')
}

function quote(text) {
  return JSON.stringify(text)
}
