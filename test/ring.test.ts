// `--ring auto` and `--network` of compile: what is chosen, what is said about it, and that it runs.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { floats, network, node, values } from './networks.js';

const root = join(import.meta.dirname, '..');
const main = join(root, 'dist/src/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'tessera-ring-'));
afterAll(() => rmSync(folder, { recursive: true }));
const environment = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') };

function tessera(...args: string[]) {
  const options = { encoding: 'utf8', env: environment, timeout: 100_000 } as const;
  return spawnSync(process.execPath, [main, ...args], options);
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, looked at key by key.
function json(...args: string[]): any {
  const { status, stdout, stderr } = tessera(...args, '--json', '--quiet');
  expect(status, stderr + stdout).toBe(0);
  return JSON.parse(stdout);
}

/** Two layers and ten scores on 2 × 6 × 6 pictures. */
const small = join(folder, 'small.onnx');
writeFileSync(
  small,
  network({
    shape: [2, 6, 6],
    nodes: [
      node('Conv', ['x', 'a.w'], 'a', { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      node('Relu', ['a'], 'r'),
      node('Conv', ['r', 'b.w'], 'b', { kernel_shape: [6, 6] }),
    ],
    tensors: [floats('a.w', [8, 2, 3, 3]), floats('b.w', [10, 8, 6, 6])],
  }),
);

/** Two scores that are the same sum in another order: rounding alone tells float which is greater, and in no ring is either. */
const tied = join(folder, 'tied.onnx');
const order = values(36, 5);
writeFileSync(
  tied,
  network({
    shape: [2, 6, 6],
    nodes: [
      node('Conv', ['x', 'copies'], 'c', { kernel_shape: [1, 1] }),
      node('Relu', ['c'], 'r'),
      node('Conv', ['r', 'sums'], 'y', { kernel_shape: [6, 6] }),
    ],
    tensors: [
      floats('copies', [2, 2, 1, 1], Float32Array.of(1, 0, 1, 0)),
      floats(
        'sums',
        [2, 2, 6, 6],
        Float32Array.of(...order, ...order.map(() => 0), ...order.map((w, i) => (i % 2) * w), ...order.map((w, i) => (1 - (i % 2)) * w)),
      ),
    ],
  }),
);

describe.skipIf(!existsSync(main))('--ring auto', () => {
  it('takes the narrowest ring that reaches the agreement, says which it tried, and keeps that with the model', () => {
    const out = join(folder, 'auto');
    const { ringBits, ring } = json('compile', small, '--ring', 'auto', '--agreement', '99%', '-o', out);
    expect(ring).toMatchObject({ target: 0.99, images: 16 });
    const tried = new Map<number, number>(ring.trials.map((t: { ringBits: number; agreement: number }) => [t.ringBits, t.agreement]));
    expect(tried.get(ringBits)).toBeGreaterThanOrEqual(0.99);
    for (const [bits, agreement] of tried) if (bits < ringBits) expect(agreement).toBeLessThan(0.99);
    expect(tried.has(ringBits - 1) || ringBits === 16).toBe(true);
    expect(ringBits).toBeLessThan(32);
    const kept = JSON.parse(readFileSync(join(out, 'model.json'), 'utf8'));
    expect(kept).toMatchObject({ ringBits, ring });
    const text = tessera('compile', small, '--ring', 'auto', '-o', join(folder, 'text')).stdout;
    expect(text).toMatch(/taken/);
    expect(text).toContain(`ring of ${ringBits} bits`);
    const estimated = json('estimate', small, '--ring', 'auto', '--suite', 'masked');
    expect(estimated.suites.masked.online.bytes).toBeLessThan(json('estimate', small, '--suite', 'masked').suites.masked.online.bytes);
  });

  it('takes a wider ring where more is asked for', () => {
    const of = (share: string): number =>
      json('compile', small, '--ring', 'auto', '--agreement', share, '-o', join(folder, 'more')).ringBits;
    expect(of('1')).toBeGreaterThanOrEqual(of('0.5'));
  });

  it('says what was best, and what to do, where no ring does', () => {
    const { status, stdout } = tessera('compile', tied, '--ring', 'auto', '-o', join(folder, 'none'), '--json');
    const { error } = JSON.parse(stdout);
    expect([status, error.code, error.where]).toEqual([3, 'no-ring', '--ring']);
    expect(error.message).toMatch(/the best has \d+ bits: \d/);
    expect(error.hint).toMatch(/--agreement/);
    expect(existsSync(join(folder, 'none'))).toBe(false);
  });

  it.each([
    ['--ring', 'narrow'],
    ['--agreement', '120%'],
    ['--agreement', '0'],
  ])('refuses %s %s', (flag, value) => {
    expect(tessera('compile', small, flag, value, '-o', join(folder, 'none'), '--json').status).toBe(2);
  });
});

describe.skipIf(!existsSync(main))('a plan', () => {
  const near = '10GB/s,10us';
  const far = '1GB/s,400ms';

  it('is chosen for the network named, is part of the program, and runs as estimated', () => {
    const out = join(folder, 'far');
    const { plan, hash } = json('compile', small, '--network', far, '-o', out, '--ring', '24');
    expect(plan).toMatchObject({ network: '1000000000B/s,0.4s', aim: 'all', layers: [{ name: 'r', roundTrips: 1 }] });
    expect(plan.seconds.online).toBeLessThan(plan.fewestBytes.online);
    const plain = json('compile', small, '-o', join(folder, 'plain'), '--ring', '24');
    expect(plain.plan).toBeUndefined();
    expect(plain.hash).not.toBe(hash);
    const picture = join(folder, 'picture.npy');
    writePicture(picture);
    const [ran, usual] = [out, join(folder, 'plain')].map((model) => json('run', model, picture, '--parties', 'processes'));
    expect(ran.estimateMatches).toBe(true);
    expect(ran.online.rounds).toBe(usual.online.rounds - 2);
    expect(ran.results[0].label).toBe(usual.results[0].label);
  });

  it('is printed by estimate with the times of both, and is the fewest bytes for a near network or when asked for', () => {
    const text = tessera('estimate', small, '--ring', '24', '--suite', 'masked', '--network', far).stdout;
    expect(text).toMatch(/plan for 1000000000B\/s,0.4s/);
    expect(text).toMatch(/1 layer: one round trip/);
    expect(text).toMatch(/fewest bytes/);
    const bytes = (...args: string[]): number =>
      json('estimate', small, '--ring', '24', '--suite', 'masked', ...args).suites.masked.offline.bytes;
    expect(bytes('--network', far, '--plan', 'bytes')).toBe(bytes());
    expect(bytes('--network', far)).toBeGreaterThan(bytes());
    expect(json('estimate', small, '--ring', '24', '--suite', 'masked', '--network', near).plan).toMatchObject({ aim: 'all' });
  });
});

/** A float32 .npy file of one picture. */
function writePicture(path: string): void {
  const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 6, 6), }".padEnd(117).concat('\n');
  const bytes = Buffer.alloc(10 + header.length + 4 * 72);
  bytes.write('\x93NUMPY\x01\x00', 0, 'latin1');
  bytes.writeUInt16LE(header.length, 8);
  bytes.write(header, 10, 'latin1');
  for (let i = 0; i < 72; i++) bytes.writeFloatLE(Math.sin(i), 10 + header.length + 4 * i);
  writeFileSync(path, bytes);
}
