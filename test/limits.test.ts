// What cannot be computed is refused before anything is started, with a word on what to change: through the command line.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, network, node, values } from './networks.js';
import { built, writeArray } from './processes/parties.js';

const root = join(import.meta.dirname, '..');
const main = join(root, 'dist/src/cli/main.js');
const resnet = join(root, 'models/cifar10-resnet20.onnx');

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

describe.skipIf(!built)('limits (after npm run build)', () => {
  let folder: string;
  const at = (name: string) => join(folder, name);
  const tessera = (...args: string[]) => {
    const env = { ...process.env, XDG_CACHE_HOME: at('cache') };
    const { status, stdout } = spawnSync(process.execPath, [main, ...args, '--json', '--quiet'], { encoding: 'utf8', env });
    return { status, ...(JSON.parse(stdout) as { error: Failure }) };
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tessera-limits-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('a ring too narrow for the values of calibration: the error names the narrowest that is wide enough', () => {
    const scaled = (name: string, factor: number) =>
      floats(
        name,
        [3, 2, 1, 1],
        values(6, 5).map((w) => w * factor),
      );
    const uneven = network({
      shape: [2, 4, 4],
      nodes: [node('Conv', ['x', 'l.w'], 'l'), node('Conv', ['x', 's.w'], 's'), node('Add', ['l', 's'], 'y'), node('Relu', ['y'], 'r')],
      tensors: [scaled('l.w', 3e5), scaled('s.w', 1e-2)],
    });
    writeFileSync(at('uneven.onnx'), uneven);
    writeArray(at('pictures.npy'), [4, 2, 4, 4], values(4 * 32, 3));
    const compile = (ring: string) => tessera('compile', at('uneven.onnx'), '--data', at('pictures.npy'), '--ring', ring, '-o', at('net'));
    const { status, error } = compile('18');
    expect([status, error.code]).toEqual([3, 'ring-too-narrow']);
    const enough = Number(/--ring (\d+)/.exec(error.hint)?.[1]);
    expect(enough).toBeGreaterThan(18);
    expect(compile(String(enough)).status).toBe(0);
    expect(compile(String(enough - 1)).error.code).toBe('ring-too-narrow');
  });

  it.each(['compiled', 'onnx'])('pictures and arrays of another size than a network (%s) reads', (kind) => {
    const png = new PNG({ width: 48, height: 40 });
    png.data.fill(128);
    writeFileSync(at('large.png'), PNG.sync.write(png));
    writeArray(at('large.npy'), [2, 3, 40, 48], new Float32Array(2 * 3 * 40 * 48));
    writeArray(at('right.npy'), [2, 3, 32, 32], values(2 * 3 * 32 * 32, 2));
    const model = kind === 'onnx' ? resnet : at('resnet');
    if (kind === 'compiled') expect(tessera('compile', resnet, '--data', at('right.npy'), '-o', model).status).toBe(0);
    for (const pictures of [[at('large.png')], ['--data', at('large.npy')], ['--data', at('large.npy'), '--batch', '2']]) {
      const { status, error } = tessera('run', model, ...pictures);
      expect([status, error.code]).toEqual([3, 'wrong-picture-shape']);
      expect(error.message).toMatch(/3 × 40 × 48.*3(,| ×) 32(,| ×) 32/);
      expect(error.hint).toMatch(/"resize".*--preprocess.*arrays/);
    }
    writeFileSync(at('sized.json'), JSON.stringify({ resize: 32, crop: 32, mean: [0.5, 0.5, 0.5], std: [1, 1, 1] }));
    expect(tessera('run', model, at('large.png'), '--preprocess', at('sized.json')).status).toBe(0);
    expect(tessera('run', model, '--data', at('right.npy'), '--batch', '65')).toMatchObject({ status: 2, error: { code: 'usage' } });
  });

  it('a model that does not fit into memory, predicted before it is started', () => {
    // At 64 pictures 268 million activations: more than any party's kernels can address, whatever the machine has.
    const channels = 4096;
    const wide = network({
      shape: [1, 32, 32],
      nodes: [node('Conv', ['x', 'a.w'], 'a'), node('Relu', ['a'], 'r'), node('Conv', ['r', 'b.w'], 'b')],
      tensors: [floats('a.w', [channels, 1, 1, 1]), floats('b.w', [1, channels, 1, 1])],
    });
    writeFileSync(at('wide.onnx'), wide);
    writeArray(at('one.npy'), [1, 1, 32, 32], values(1024, 3));
    writeArray(at('many.npy'), [64, 1, 32, 32], values(64 * 1024, 4));
    const batched = ['--calibrate', at('one.npy'), '--batch', '64'];
    for (const parties of ['memory', 'processes']) {
      const run = tessera('run', at('wide.onnx'), '--data', at('many.npy'), ...batched, '--parties', parties);
      expect([run.status, run.error.code]).toEqual([3, 'not-enough-memory']);
      expect(run.error.message).toMatch(/about [\d.]+ GB.*client .*server .*provider .* GB/);
      expect(run.error.hint).toMatch(/--batch.*--spec.*--ring/);
    }
  });
});
