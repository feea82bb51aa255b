import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['@skerry/source'] },
  ssr: { resolve: { conditions: ['@skerry/source'] } },
  test: {
    include: ['{packages,apps}/*/src/**/*.test.ts', 'tests/**/*.test.ts', 'guests/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
});
