import { NonRetryable } from '@carillon/runtime'
import { mockActivities } from '@carillon/runtime/testing'
import { expect, it } from 'vitest'

import { describeOnBothBackends } from '../testing/describe-on-both-backends.ts'
import { deploymentActivities } from './activities.ts'
import { Deployment } from './contract.ts'
import { deployment } from './workflow.ts'

const HOSTS = ['h1', 'h2', 'h3', 'h4', 'h5']

/** Hosts that are installed when the test lets them. */
function fleet() {
  const waiting = new Map<string, () => void>()
  const versions = new Map<string, string>()
  let most = 0
  const activities = mockActivities(Deployment, {
    install: ({ host, version }) =>
      new Promise((resolve) => {
        waiting.set(host, () => {
          waiting.delete(host)
          versions.set(host, version)
          resolve()
        })
        most = Math.max(most, waiting.size)
      }),
  })
  return { activities, versions, waiting, letGo: (host: string) => waiting.get(host)?.(), most: () => most }
}

describeOnBothBackends('a rollout', { workflows: [deployment], activities: [deploymentActivities] }, (open) => {
  async function start() {
    const hosts = fleet()
    const backend = await open({ activities: [hosts.activities] })
    const release = backend.workflow(Deployment, 'r-1')
    await release.start({ version: '2', previous: '1', hosts: HOSTS, width: 2 })
    const begins = (...names: string[]): Promise<void> =>
      backend.until(() => names.join() === [...hosts.waiting.keys()].toSorted().join())
    const installed = (count: number): Promise<void> =>
      backend.until(async () => (await release.query('progress')).done.length === count)
    await begins('h1', 'h2')
    return { ...hosts, backend, release, begins, installed }
  }

  it('goes over all hosts, as many at once as it may', async () => {
    const { release, begins, letGo, versions, most } = await start()
    letGo('h2')
    await begins('h1', 'h3')
    letGo('h1')
    await begins('h3', 'h4')
    letGo('h3')
    await begins('h4', 'h5')
    letGo('h5')
    await begins('h4')
    letGo('h4')
    const result = await release.result({ timeoutMs: 10_000 })
    expect(result).toEqual({ outcome: 'rolled-out', hosts: ['h2', 'h1', 'h3', 'h5', 'h4'] })
    expect([...versions.values()]).toEqual(['2', '2', '2', '2', '2'])
    expect(most()).toBe(2)
  })

  it('finishes what is under way when it is paused, begins nothing, and goes on from there', async () => {
    const { release, begins, installed, letGo, waiting } = await start()
    await release.signal('pause', undefined, { wait: 'applied' })
    expect(await release.query('progress')).toMatchObject({ phase: 'paused', running: ['h1', 'h2'], waiting: 3 })
    letGo('h1')
    letGo('h2')
    await installed(2)
    expect([...waiting.keys()]).toEqual([])
    expect(await release.query('progress')).toMatchObject({ running: [], done: ['h1', 'h2'], waiting: 3 })
    await release.signal('continue')
    await begins('h3', 'h4')
    expect((await release.query('progress')).phase).toBe('rolling-out')
  })

  it('gives touched hosts their previous version back, last first, when it is rolled back while activities run', async () => {
    const { release, begins, letGo, versions, activities } = await start()
    letGo('h1')
    await begins('h2', 'h3')
    await release.signal('rollback', undefined, { wait: 'applied' })
    letGo('h2')
    letGo('h3')
    for (const host of ['h3', 'h2', 'h1']) {
      await begins(host)
      letGo(host)
    }
    expect(await release.result({ timeoutMs: 10_000 })).toEqual({ outcome: 'rolled-back', hosts: ['h3', 'h2', 'h1'] })
    expect(Object.fromEntries(versions)).toEqual({ h1: '1', h2: '1', h3: '1' })
    expect(activities.calls('install')).toHaveLength(6)
  })

  it('pauses by itself at a host that fails, and tries it again when it is told to continue', async () => {
    const { backend, release, begins, letGo, activities } = await start()
    activities.failNext('install', 1, new NonRetryable('no space left'))
    letGo('h1')
    await backend.until(async () => (await release.query('progress')).failed.length === 1)
    expect(await release.query('progress')).toMatchObject({
      phase: 'paused',
      failed: [{ host: 'h3', reason: 'no space left' }],
      waiting: 2,
    })
    await release.signal('continue')
    await begins('h2', 'h3')
    expect((await release.query('progress')).failed).toEqual([])
  })
})
