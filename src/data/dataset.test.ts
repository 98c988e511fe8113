import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { zipSync } from 'fflate';
import { PNG } from 'pngjs';
import { afterAll, describe, expect, it } from 'vitest';
import { DataError } from '../errors.js';
import { batches, hashDataset, loadDataset, loadPictures, readPreprocessing } from './dataset.node.js';
import { recordSource } from './records.node.js';

const folder = mkdtempSync(join(tmpdir(), 'tessera-data-'));
afterAll(() => rmSync(folder, { recursive: true }));

function put(name: string, content: Uint8Array | string | object): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content instanceof Uint8Array || typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

function png(width: number, height: number, grey: number): Uint8Array {
  const image = new PNG({ width, height });
  for (let i = 0; i < image.data.length; i += 4) image.data.set([grey, grey, grey, 255], i);
  return PNG.sync.write(image, { colorType: 0 });
}

function npy(descr: string, shape: readonly number[], data: Uint8Array): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }\n`;
  return Buffer.concat([Buffer.from([0x93, 78, 85, 77, 80, 89, 1, 0, header.length, 0]), Buffer.from(header), data]);
}

async function refusal(promise: Promise<unknown>): Promise<DataError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(DataError);
  return error as DataError;
}

describe('loadDataset', () => {
  it('reads CIFAR records: one label byte, or two of which the second counts', async () => {
    const ten = put(
      'ten.bin',
      Uint8Array.from({ length: 2 * 3073 }, (_, i) => (i % 3073 === 0 ? 7 : 255)),
    );
    const hundred = put(
      'hundred.bin',
      Uint8Array.from({ length: 3 * 3074 }, (_, i) => (i % 3074 < 2 ? 40 + (i % 3074) : 0)),
    );
    const set = await loadDataset(ten);
    expect([set.count, set.shape, set.labels, set.names[1]]).toEqual([2, [3, 32, 32], [7, 7], 'ten.bin#1']);
    expect((await set.read(1, 1)).every((value) => value === 1)).toBe(true);
    expect((await loadDataset(hundred)).labels).toEqual([41, 41, 41]);
  });

  it('reads records that are too large for memory from the disk, in any order', async () => {
    const size = 3073;
    const path = put(
      'large.bin',
      Uint8Array.from({ length: 2000 * size }, (_, i) => (i % size === 0 ? Math.floor(i / size) % 10 : (i * 7) % 251)),
    );
    const [disk, memory] = [await recordSource(path, 'cifar10', 0), await recordSource(path, 'cifar10')];
    expect(disk.labels).toEqual(memory.labels);
    for (const index of [1999, 0, 1234]) expect(await disk.item(index)).toEqual(await memory.item(index));
    const packed = put('packed.bin', gzipSync(new Uint8Array(3073).fill(3)));
    expect((await recordSource(packed, undefined, 0)).labels).toEqual([3]);
  });

  it('reads idx pairs, compressed or not, and finds the labels by name', async () => {
    const images = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 51, 102, 255);
    const path = put('t-images-idx3-ubyte.gz', gzipSync(images));
    put('t-labels-idx1-ubyte.gz', gzipSync(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 4, 9)));
    const set = await loadDataset(path);
    expect([set.shape, set.labels]).toEqual([
      [1, 1, 2],
      [4, 9],
    ]);
    expect([...(await set.read(0, 2))]).toEqual([0, 0.2, 0.4, 1].map((value) => expect.closeTo(value, 6)));
    expect((await refusal(loadDataset(put('cut-idx3', images.subarray(0, 19))))).code).toBe('bad-data');
  });

  it('labels a folder by sub-folders, by labels.json, or by a descriptor’s table', async () => {
    put('tree/zebra/a.png', png(2, 2, 10));
    put('tree/ant/b.png', png(2, 2, 20));
    const tree = await loadDataset(join(folder, 'tree'));
    expect([tree.classes, tree.labels, tree.names]).toEqual([
      ['ant', 'zebra'],
      [0, 1],
      ['ant/b.png', 'zebra/a.png'],
    ]);
    put('flat/a.png', png(2, 2, 10));
    put('flat/b.png', png(2, 2, 20));
    put('flat/labels.json', { 'b.png': 3 });
    const flat = await loadDataset(join(folder, 'flat'));
    expect([flat.names, flat.labels]).toEqual([['b.png'], [3]]);
    const described = put('d.json', { images: 'flat', format: 'folder', labels: { 'a.png': 'cat' }, classes: ['dog', 'cat'] });
    expect((await loadDataset(described)).labels).toEqual([1]);
    put('outside/labels.json', { '../d.json': 0 });
    expect((await refusal(loadDataset(join(folder, 'outside')))).message).toMatch(/outside/);
  });

  it('reads NumPy pictures and tensors', async () => {
    const pixels = npy('|u1', [2, 3, 1, 2], Uint8Array.of(255, 0, 51, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    const labels = npy('<i8', [2], new Uint8Array(BigInt64Array.of(5n, 6n).buffer));
    const set = await loadDataset(put('a.npz', zipSync({ 'images.npy': pixels, 'labels.npy': labels })));
    expect([set.shape, set.labels]).toEqual([
      [3, 1, 2],
      [5, 6],
    ]);
    expect([...(await set.read(0, 1))]).toEqual([1, 0, expect.closeTo(0.2, 6), 0, 0, 0]);
    const tensors = await loadDataset(put('b.npy', npy('<f4', [1, 2, 1, 1], new Uint8Array(Float32Array.of(-3, 4.5).buffer))));
    expect([tensors.shape, ...(await tensors.read(0, 1))]).toEqual([[2, 1, 1], -3, 4.5]);
    expect((await refusal(loadDataset(put('c.npy', npy('<f4', [9, 2, 1, 1], new Uint8Array(8)))))).code).toBe('bad-npy');
  });

  it('pairs pictures with annotations', async () => {
    put('seg/in/a.png', png(2, 1, 9));
    put('seg/out/a.png', png(2, 1, 3));
    const path = put('seg/d.json', { images: 'in', annotations: 'out', format: 'pairs', ignore: 11 });
    const set = await loadDataset(path);
    expect([set.ignore, ...((await set.annotation?.(0)) ?? [])]).toEqual([11, 3, 3]);
    put('seg/in/b.png', png(2, 1, 9));
    expect((await refusal(loadDataset(path))).message).toMatch(/no annotation b\.png/);
  });

  it('honours limits, keeps batches in order and hashes what is fed', async () => {
    const bytes = Uint8Array.from({ length: 5 * 785 }, (_, i) => Math.floor(i / 785));
    const path = put('five.bin', bytes);
    const set = await loadDataset(path, { limit: 3 });
    const sizes: number[] = [];
    for await (const batch of batches(set, 2)) sizes.push(batch.start, batch.count, batch.images.length);
    expect(sizes).toEqual([0, 2, 2 * 784, 2, 1, 784]);
    const hash = await hashDataset(set);
    expect(await hashDataset(await loadDataset(path, { limit: 2 }))).not.toBe(hash);
    expect(await hashDataset(await loadDataset(put('d5.json', { images: 'five.bin', limit: 3, channels: 'gray' })))).toBe(hash);
  });

  it('names what cannot be used', async () => {
    const missing = await refusal(loadPictures([join(folder, 'nosuch.png')]));
    expect([missing.code, missing.exitStatus]).toEqual(['no-such-file', 3]);
    expect(missing.hint).toBeTruthy();
    expect((await refusal(loadPictures([put('cut.png', png(4, 4, 1).subarray(0, 50))]))).code).toBe('bad-picture');
    expect((await refusal(loadPictures([put('empty.png', '')]))).code).toBe('bad-picture');
    const bomb = Buffer.from(png(4, 4, 1));
    bomb.writeUInt32BE(60000, 16);
    bomb.writeUInt32BE(60000, 20);
    expect((await refusal(loadPictures([put('bomb.png', bomb)]))).message).toMatch(/more than/);
    expect((await refusal(loadPictures([put('x.jpg', Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16))]))).code).toBe('bad-picture');
    expect((await refusal(loadDataset(put('odd.bin', new Uint8Array(100))))).code).toBe('bad-data');
    expect((await refusal(loadDataset(put('typo.json', { images: '.', meen: [1] })))).message).toMatch(/meen/);
    expect((await refusal(readPreprocessing(put('two.json', { mean: [1, 2], std: [1, 1] })))).message).toMatch(
      /"mean" has 2 numbers for 3 planes/,
    );
    put('sizes/a.png', png(2, 2, 1));
    put('sizes/b.png', png(3, 2, 1));
    const sizes = await loadDataset(join(folder, 'sizes'));
    expect((await refusal(sizes.read(0, 2))).message).toMatch(/b\.png is 1 × 2 × 3/);
  });
});

const shared = join(import.meta.dirname, '../../../shared/data');
describe.skipIf(!existsSync(shared))('the shared networks (skipped where ../shared/data is absent)', () => {
  it.each([
    ['faces/face-expression', 6, 6],
    ['medical/lymphoma36', 45, 39],
    ['mnist/mnist-7', 1000, 984],
    ['imagenet/mobilenetv1-075', 12, 11],
  ])('%s: of %i pictures it names %i, as its README says or more', async (name, limit, correct) => {
    const { InferenceSession, Tensor } = await import('onnxruntime-node');
    const session = await InferenceSession.create(join(shared, `${name}.onnx`), { intraOpNumThreads: 1 });
    const set = await loadDataset(join(shared, `${name}.test.json`), { limit });
    let right = 0;
    for await (const { start, images } of batches(set, 1)) {
      const feeds = { [session.inputNames[0] as string]: new Tensor('float32', images, [1, ...set.shape]) };
      const output = (await session.run(feeds))[session.outputNames[0] as string];
      const logits = Array.from(output?.data as Float32Array);
      right += logits.indexOf(Math.max(...logits)) === set.labels?.[start] ? 1 : 0;
    }
    expect(set.count).toBe(limit);
    expect(right).toBeGreaterThanOrEqual(correct);
  });
});
