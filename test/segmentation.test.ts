// Distortion, choice and evaluation of a network that names a class for every pixel, as a person calls them.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, describe, expect, it } from 'vitest';
import { readDistortion } from '../src/block/distortion-file.js';
import { floats, network, node, seeded } from './networks.js';

const main = join(import.meta.dirname, '../dist/src/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'tessera-segmentation-'));
afterAll(() => rmSync(folder, { recursive: true }));

const side = 12;
const classes = 3;
const pictures = 6;
/** Annotations hold a class that is not scored beside the three. */
const ignored = 3;

function picture(file: string, channels: 1 | 3, value: (pixel: number, channel: number) => number): void {
  const png = new PNG({ width: side, height: side });
  for (let i = 0; i < side * side; i++) {
    for (let c = 0; c < 3; c++) png.data[4 * i + c] = value(i, channels === 1 ? 0 : c);
    png.data[4 * i + 3] = 255;
  }
  writeFileSync(file, PNG.sync.write(png, { colorType: channels === 1 ? 0 : 2 }));
}

mkdirSync(join(folder, 'in'));
mkdirSync(join(folder, 'truth'));
const next = seeded(5);
for (let n = 0; n < pictures; n++) {
  picture(join(folder, `in/${n}.png`), 3, () => next() >>> 24);
  picture(join(folder, `truth/${n}.png`), 1, (pixel) => (pixel + n) % (ignored + 1));
}
const set = {
  images: 'in',
  format: 'pairs',
  ignore: ignored,
  mean: [0, 0, 0],
  std: [255, 255, 255],
  channels: 'rgb',
  classes: ['a', 'b', 'c'],
};
const data = join(folder, 'set.json');
writeFileSync(data, JSON.stringify({ ...set, annotations: 'truth' }));

const model = join(folder, 'net.onnx');
writeFileSync(
  model,
  network({
    shape: [3, side, side],
    nodes: [
      node('Conv', ['x', 'w1'], 'c1', { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      node('Relu', ['c1'], 'first'),
      node('Conv', ['first', 'w2'], 'c2', { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      node('Relu', ['c2'], 'second'),
      node('Conv', ['second', 'w3'], 'scores', { kernel_shape: [1, 1] }),
    ],
    tensors: [floats('w1', [4, 3, 3, 3]), floats('w2', [4, 4, 3, 3]), floats('w3', [classes, 4, 1, 1])],
  }),
);

// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, looked at key by key.
function tessera(status: number, ...args: string[]): any {
  const run = spawnSync(process.execPath, [main, ...args, '--json', '--quiet'], { encoding: 'utf8', timeout: 100_000 });
  expect(run.status, run.stderr + run.stdout).toBe(status);
  return JSON.parse(run.stdout);
}

describe('a network with a map of scores', () => {
  it.each(['linear', 'exact', 'loss'])('is measured by the method %s', (method) => {
    const file = join(folder, `${method}.npz`);
    tessera(0, 'distort', model, '--data', data, '--method', method, '--samples', '4', '-o', file);
    const { meta, values } = readDistortion(readFileSync(file), file);
    expect(meta).toMatchObject({ method, layers: ['first', 'second'], at: 'logits' });
    expect(values.filter((value) => value !== 0 && !Number.isNaN(value)).length).toBeGreaterThan(100);
  });

  it('is evaluated by its mean intersection over union, with a spec too', () => {
    const [file, spec] = [join(folder, 'd.npz'), join(folder, 'spec.json')];
    tessera(0, 'distort', model, '--data', data, '--samples', '6', '-o', file);
    tessera(0, 'solve', file, '--budget', '30%', '-o', spec);
    const plain = tessera(0, 'evaluate', model, '--data', data);
    const shared = tessera(0, 'evaluate', model, '--data', data, '--spec', spec, '--no-cache', '--precision', 'fixed');
    expect(plain).toMatchObject({ images: pictures, agreement: 1 });
    for (const { miou } of [plain, shared]) expect(miou).toBeGreaterThan(0.05);
    expect(shared.miou).not.toBe(plain.miou);
    expect(shared.agreement).toBeGreaterThan(0.95);
    expect(plain.top1).toBeUndefined();
  });

  it('is refused annotations of another size, and a loss without annotations', () => {
    const smaller = join(folder, 'smaller.onnx');
    const nodes = [
      node('Conv', ['x', 'w1'], 'c1', { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
      node('Relu', ['c1'], 'first'),
      node('Conv', ['first', 'w3'], 'scores', { kernel_shape: [1, 1] }),
    ];
    const tensors = [floats('w1', [4, 3, 3, 3]), floats('w3', [classes, 4, 1, 1])];
    writeFileSync(smaller, network({ shape: [3, side, side], nodes, tensors }));
    const out = join(folder, 'refused.npz');
    expect(tessera(3, 'evaluate', smaller, '--data', data).error.code).toBe('wrong-labels');
    expect(tessera(3, 'distort', smaller, '--data', data, '--method', 'loss', '-o', out).error.code).toBe('wrong-labels');
    expect(tessera(3, 'distort', model, '--data', join(folder, 'in'), '--method', 'loss', '-o', out).error.code).toBe('no-labels');
  });
});
