import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect } from '@carillon/client'
import { loadWorkflows, openNode } from '@carillon/node'
import { silentLogger } from '@carillon/runtime/ports'
import { describe, expect, it } from 'vitest'

import { startTestServer } from '../src/testing/nats-process.ts'
import { makeWorkflowFolder } from './cli/workflow-folder.ts'

const INTERCEPTORS = `
import { defineInterceptors, InputRejected } from '@carillon/runtime'
export const interceptors = defineInterceptors({
  workflow: [
    {
      handle({ kind, payload }, next) {
        if (kind === 'signal' && (payload as { n?: number } | undefined)?.n === 0) throw new InputRejected('nothing to add')
        return next(payload)
      },
    },
  ],
})
`

describe('interceptors of a node', () => {
  it('are found in workflow files, stand around every type, and hold over a restart that folds the journal', async () => {
    const server = await startTestServer()
    const folder = makeWorkflowFolder()
    const dataDir = await mkdtemp(join(tmpdir(), 'carillon-interceptors-'))
    folder.write('interceptors.ts', INTERCEPTORS)
    const workflows = await loadWorkflows([folder.file('workflow.ts'), folder.file('interceptors.ts')])
    const open = async (dir: string) => {
      const node = await openNode({ servers: server.url, dataDir: dir, workflows, logger: silentLogger, partitions: 4 })
      await node.caughtUp
      return node
    }
    let node = await open(join(dataDir, 'first'))
    const carillon = await connect({ servers: server.url })
    try {
      const counter = carillon.workflow('counter', 'c')
      await counter.signal('add', { n: 2 })
      const refused = counter.signal('add', { n: 0 }, { wait: 'applied', id: 'zero' })
      await expect(refused).rejects.toMatchObject({ code: 'INPUT_REJECTED', message: 'nothing to add' })
      await counter.signal('add', { n: 3 }, { wait: 'applied' })
      const { digest } = await counter.describe()
      await node.close()
      node = await open(join(dataDir, 'second'))
      expect(await counter.describe()).toMatchObject({ digest })
      expect(await counter.query('total')).toBe(5)
      const letters = []
      for await (const { reason, name } of carillon.deadLetters()) letters.push({ code: reason.code, name })
      expect(letters).toContainEqual({ code: 'INPUT_REJECTED', name: 'add' })
    } finally {
      await carillon.close()
      await node.close()
      await server.stop()
      folder.remove()
      await rm(dataDir, { recursive: true, force: true })
    }
  })
})
