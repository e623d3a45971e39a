import { availableParallelism } from 'node:os'

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'docker/*.test.ts', 'scripts/*.test.ts'],
    typecheck: { enabled: false },
    testTimeout: 60_000,
    // Many tests wait for processes of their own: one file at a time, as vitest does on two cores, leaves half of the machine idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
})
