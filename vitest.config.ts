import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'docker/*.test.ts', 'scripts/*.test.ts'],
    typecheck: { enabled: false },
    testTimeout: 30_000,
  },
})
