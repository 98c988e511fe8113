// Every program of examples/ runs as its first line says, and prints what its reader expects. They import the built package by name.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

async function output(example: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'examples', example), ...args], {
    cwd: root,
    timeout: 100_000,
  });
  return stdout;
}

/** Starts an example that serves; resolves with the address it prints. */
function serving(example: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [join(root, 'examples', example), ...args], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return new Promise((resolve, reject) => {
    child.stdout.setEncoding('utf8').once('data', (line: string) => resolve(/ws:\S+/.exec(line)?.[0] ?? ''));
    child.once('exit', (status) => reject(new Error(`${example} ended with ${status}`)));
  });
}

const tests: Record<string, () => Promise<void>> = {
  'one-process.mjs': async () => {
    expect((await output('one-process.mjs')).split('\n')).toEqual(expect.arrayContaining(['cat.png cat', 'horse.png horse']));
  },
  'costs.mjs': async () => {
    expect(await output('costs.mjs')).toMatch(/in all \d+ bytes before the picture, \d+ with it, \d+ messages in a row/);
  },
  'add-onnx-op.mjs': async () => {
    expect(await output('add-onnx-op.mjs')).toBe('0.00 0.00 0.30 0.50 0.70 1.00\n');
  },
  'add-protocol-op.mjs': async () => {
    const [values, bytes] = (await output('add-protocol-op.mjs')).split('\n');
    expect(values).toBe('3 -6 9 120');
    const [, measured, predicted] = /(\d+) bytes, predicted (\d+)/.exec(bytes ?? '') ?? [];
    expect(Number(measured)).toBe(Number(predicted));
  },
  // Provider and server run for it, on ports that are free.
  'client.mjs': async () => {
    const provider = await serving('provider.mjs', '0');
    const server = await serving('server.mjs', '0', provider);
    expect(await output('client.mjs', 'models/pictures/cat.png', server, provider)).toBe('cat\n');
  },
};

describe.skipIf(!existsSync(join(root, 'models/cifar10-resnet20.onnx')))('examples', () => {
  it.each(Object.keys(tests))('%s', (name) => tests[name]?.());

  it('all of them are run', () => {
    const run = [...Object.keys(tests), 'provider.mjs', 'server.mjs'].sort();
    expect(readdirSync(join(root, 'examples')).sort()).toEqual(run);
  });
});
