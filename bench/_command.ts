// The commands of this build, for benchmarks that measure what a user sees.
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

/** What a command answers with --json. Throws where it does not end well. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, read key by key.
export function tessera(...args: string[]): any {
  const { status, stdout } = spawnSync(process.execPath, [main, ...args, '--json', '--quiet'], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error(`tessera ${args[0]} ended with status ${status}`);
  return JSON.parse(stdout.toString());
}

/** What a program prints, given `input`; what it says on standard error is seen as it goes, and it ends where this process is ended. */
export function printed(program: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal);
    process.exit(1);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  child.stdin.end(input);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, end);
      if (status === 0) resolve(text);
      else reject(new Error(`${program} ended with status ${status}: ${text.slice(0, 500)}`));
    });
  });
}
