// Damaged files of every kind that is read: a DataError, never another error, whatever bytes are changed, missing or repeated.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zipSync } from 'fflate';
import jpeg from 'jpeg-js';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readModelFolder } from '../../src/cli/model-folder.js';
import { readSpec } from '../../src/cli/spec.js';
import { loadDataset, readPreprocessing } from '../../src/data/dataset.node.js';
import { DataError } from '../../src/errors.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { seeded, twoLayers, values } from '../networks.js';
import { prepare, writeArray } from '../processes/parties.js';

const folder = mkdtempSync(join(tmpdir(), 'tessera-files-'));
const path = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

/** Random damage, the same for the same seed; more often at the start, where headers are. */
function damage(whole: Uint8Array, seed: number): Uint8Array {
  const next = seeded(seed);
  const awkward = [0, 1, 0x7f, 0x80, 0xff, 0x22, 0x2d, 0x5b];
  let bytes = Buffer.from(whole);
  for (let changes = 1 + (next() % 3); changes > 0; changes--) {
    const at = next() % Math.max(1, Math.min(bytes.length, next() % 2 === 0 ? 100 : bytes.length));
    const kind = next() % 5;
    if (kind === 0) bytes = bytes.subarray(0, at);
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + (next() % 20))]);
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at + 1 + (next() % 20)), bytes.subarray(at)]);
    else if (bytes.length > 0) {
      bytes = Buffer.from(bytes);
      bytes[at] = kind === 3 ? awkward[next() % awkward.length]! : next();
    }
  }
  return bytes;
}

/** Uses a file under many damages. Returns how often it was refused. */
async function refusals(file: string, use: () => Promise<unknown>): Promise<number> {
  const whole = new Uint8Array(readFileSync(file));
  await use();
  let refused = 0;
  try {
    for (let seed = 1; seed <= Number(process.env.TESSERA_FUZZ_RUNS ?? 60); seed++) {
      writeFileSync(file, damage(whole, seed));
      try {
        await use();
      } catch (error) {
        if (!(error instanceof DataError)) throw new Error(`seed ${seed} of ${file}`, { cause: error });
        expect(error.where).toBeTruthy();
        refused++;
      }
    }
  } finally {
    writeFileSync(file, whole);
  }
  return refused;
}

async function read(name: string): Promise<void> {
  const dataset = await loadDataset(path(name));
  await dataset.read(0, Math.min(2, dataset.count));
}

describe('damaged pictures and data sets', () => {
  const rgba = Buffer.from(values(12 * 10 * 4, 1).map((v) => 128 + 100 * v));
  const png = new PNG({ width: 12, height: 10 });
  rgba.copy(png.data);
  const preprocessing = { mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.2], channels: 'rgb', resize: 8, crop: 6 };
  const idx = Buffer.concat([Buffer.from([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 5]), Buffer.alloc(40, 9)]);
  const files: Readonly<Record<string, Uint8Array | string>> = {
    'a.png': PNG.sync.write(png),
    'b.jpg': jpeg.encode({ width: 12, height: 10, data: rgba }, 90).data,
    'c.bin': Buffer.from(values(2 * 3073, 2).map((v) => 5 + 5 * v)),
    'pictures-idx3-ubyte': idx,
    'e-idx3-ubyte.gz': gzipSync(idx),
    'g.json': JSON.stringify({ ...preprocessing, images: 'a.png', classes: ['one', 'two'], limit: 3 }),
    'h.json': JSON.stringify({ images: 'set', format: 'folder', labels: { 'a.png': 1 } }),
  };
  beforeAll(() => {
    for (const [name, bytes] of Object.entries(files)) writeFileSync(path(name), bytes);
    mkdirSync(path('set'));
    writeFileSync(path('set/a.png'), files['a.png']!);
    writeArray(path('d.npy'), [2, 3, 4, 5], values(120, 3));
    writeFileSync(path('f.npz'), zipSync({ 'images.npy': new Uint8Array(readFileSync(path('d.npy'))) }));
  });

  it.each([...Object.keys(files), 'd.npy', 'f.npz'])('%s', async (name) => {
    expect(await refusals(path(name), () => read(name))).toBeGreaterThan(5);
  });

  it('preprocessing', async () => {
    expect(await refusals(path('g.json'), () => readPreprocessing(path('g.json')))).toBeGreaterThan(5);
  });
});

describe('damaged compiled models and specs', () => {
  beforeAll(async () => {
    const compute = await createNodeCompute({ inline: true, maxBytes: 2 ** 28 });
    await prepare(compute, path('model'), twoLayers());
    await compute.close();
  });

  it.each(['program.bin', 'weights.bin', 'model.json'])('%s', async (name) => {
    expect(await refusals(path(`model/${name}`), () => readModelFolder(path('model')))).toBeGreaterThan(5);
  });

  it('a spec', async () => {
    const model = 'ab'.repeat(32);
    const spec = {
      schema: 'tessera/spec@1',
      model,
      made: { samples: 3 },
      layers: {
        relu: [
          [2, 2],
          [0, 1],
          [1, 0],
        ],
      },
    };
    writeFileSync(path('spec.json'), JSON.stringify(spec));
    expect(await refusals(path('spec.json'), () => readSpec(path('spec.json'), model))).toBeGreaterThan(5);
  });
});
