import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Processes, not worker threads: tests start workers of their own, share memory, and send signals.
    pool: 'forks',
    maxWorkers: 2,
    // A test that needs longer than this hangs; none asserts how fast it is.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
