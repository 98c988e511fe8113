// The commands of this build, for benchmarks that measure what a user sees.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

/** What a command answers with --json. Throws where it does not end well. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, read key by key.
export function tessera(...args: string[]): any {
  const { status, stdout } = spawnSync(process.execPath, [main, ...args, '--json', '--quiet'], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error(`tessera ${args[0]} ended with status ${status}`);
  return JSON.parse(stdout.toString());
}
