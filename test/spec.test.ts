// --spec as a person calls it: what evaluate, run, estimate and compile refuse, with which status, and that nothing is written then.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { floats, network, node, seeded, twoLayers } from './networks.js';

const main = join(import.meta.dirname, '../dist/src/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'tessera-spec-'));
afterAll(() => rmSync(folder, { recursive: true }));

const model = join(folder, 'net.onnx');
writeFileSync(
  model,
  network({
    shape: [3, 32, 32],
    nodes: [
      node('Conv', ['x', 'w1'], 'conv', { kernel_shape: [3, 3], strides: [8, 8], pads: [1, 1, 1, 1] }),
      node('Relu', ['conv'], 'relu'),
      node('Flatten', ['relu'], 'flat'),
      node('Gemm', ['flat', 'w2'], 'dense', { transB: 1 }),
    ],
    tensors: [floats('w1', [2, 3, 3, 3]), floats('w2', [10, 32])],
  }),
);
const hash = createHash('sha256').update(readFileSync(model)).digest('hex');
writeFileSync(join(folder, 'planes.onnx'), twoLayers());

const next = seeded(1);
const record = 1 + 3 * 32 * 32;
const pictures = join(folder, 'pictures.bin');
writeFileSync(
  pictures,
  Uint8Array.from({ length: 4 * record }, (_, i) => (i % record === 0 ? i % 10 : next() >>> 24)),
);
writeFileSync(join(folder, 'none.bin'), '');

function spec(name: string, content: unknown): string {
  const file = join(folder, `${name}.json`);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

const good = {
  schema: 'tessera/spec@1',
  model: hash,
  layers: {
    relu: [
      [2, 2],
      [0, 1],
    ],
  },
};
const goodSpec = spec('good', good);

// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, looked at key by key.
function tessera(status: number, ...args: string[]): any {
  const run = spawnSync(process.execPath, [main, ...args, '--json', '--quiet'], { encoding: 'utf8', timeout: 100_000 });
  expect(run.status, run.stderr + run.stdout).toBe(status);
  return JSON.parse(run.stdout);
}

describe('a spec', () => {
  it('that fits gives the same labels in float, in fixed point and privately, for the bytes that are estimated', () => {
    const args = [model, '--data', pictures, '--spec', goodSpec, '--no-cache'];
    const float = tessera(0, 'evaluate', ...args);
    for (const precision of ['fixed', 'secure']) {
      const own = tessera(0, 'evaluate', ...args, '--precision', precision);
      expect(own).toMatchObject({ images: 4, agreement: 1, clipped: 0, top1: float.top1 });
    }
    const { results, estimateMatches } = tessera(0, 'run', ...args, '--parties', 'memory');
    expect(estimateMatches).toBe(true);
    for (const { label, plaintextLabel } of results) expect(label).toBe(plaintextLabel);
  });

  it('may ask for a ring, which is taken where the call names none', () => {
    const wide = spec('wide', { ...good, ringBits: 36 });
    const args = ['--data', pictures, '--no-cache'];
    const compiled = (name: string, ...own: string[]) => tessera(0, 'compile', model, ...args, ...own, '-o', join(folder, name)).ringBits;
    expect(compiled('asked', '--spec', wide)).toBe(36);
    expect(compiled('named', '--spec', wide, '--ring', '32')).toBe(32);
    expect(compiled('small', '--spec', spec('small', { ...good, ringBits: 20 }))).toBe(32);
    expect(compiled('without', '--spec', goodSpec)).toBe(32);
  });

  it.each([
    ['that asks for a ring there is not', 'bad-spec', { ...good, ringBits: 65 }],
    ['of another model', 'wrong-spec', { ...good, model: 'ab'.repeat(32) }],
    [
      'with a patch larger than its map',
      'bad-spec',
      {
        ...good,
        layers: {
          relu: [
            [5, 1],
            [1, 1],
          ],
        },
      },
    ],
    [
      'with a patch of no height and width',
      'bad-spec',
      {
        ...good,
        layers: {
          relu: [
            [0, 0],
            [1, 1],
          ],
        },
      },
    ],
    ['with a patch too few', 'bad-spec', { ...good, layers: { relu: [[2, 2]] } }],
    ['of a layer the model has not', 'bad-spec', { ...good, layers: { other: [[2, 2]] } }],
    ['of another schema', 'bad-spec', { ...good, schema: 'tessera/spec@9' }],
    ['cut short', 'bad-spec', JSON.stringify(good).slice(0, 60)],
  ])('%s is refused', (_, code, content) => {
    const file = spec('refused', content);
    for (const command of ['evaluate', 'run']) {
      const { error } = tessera(3, command, model, '--data', pictures, '--spec', file, '--no-cache');
      expect(error).toMatchObject({ code, message: expect.any(String), hint: expect.stringMatching(/.{10}/) });
    }
    const target = join(folder, 'compiled');
    expect(tessera(3, 'compile', model, '--calibrate', pictures, '--spec', file, '-o', target).error.code).toBe(code);
    expect(existsSync(target)).toBe(false);
  });

  it('does not hide what is wrong with the pictures', () => {
    const refused = (data: string, network = model): string =>
      tessera(3, 'evaluate', network, '--data', data, ...(network === model ? ['--spec', goodSpec] : [])).error.code;
    expect(refused(join(folder, 'none.bin'))).toMatch(/bad-data|no-pictures/);
    expect(refused(pictures, join(folder, 'planes.onnx'))).toMatch(/shape/);
    expect(tessera(3, 'evaluate', model, '--data', pictures, '--spec', join(folder, 'nowhere.json')).error.code).toBe('no-such-file');
    expect(readdirSync(folder).filter((name) => /part|unfinished/.test(name))).toEqual([]);
  });
});
