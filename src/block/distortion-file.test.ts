import { describe, expect, it } from 'vitest';
import { writeNpz } from '../data/npy.js';
import { DataError } from '../errors.js';
import { candidatePatches, fitsMap, joinCandidates } from './candidates.js';
import { channelRows, type Distortion, readDistortion, writeDistortion } from './distortion-file.js';

const shapes: [number, number, number][] = [
  [3, 8, 8],
  [2, 4, 4],
];
const meta: Distortion['meta'] = {
  schema: 'tessera/distortion@1',
  model: 'ab'.repeat(32),
  method: 'linear',
  samples: 7,
  probes: 2,
  seed: 1,
  version: '0.0.0',
  layers: ['first', 'second'],
  shapes,
};
const patches = joinCandidates(shapes.map(([, height, width]) => candidatePatches(height, width)));
const values = Float64Array.from(
  channelRows(meta).flatMap(({ height, width }, row) =>
    patches.map((patch, k) => (fitsMap(patch, height, width) ? row + k / 100 : Number.NaN)),
  ),
);
const sample: Distortion = { meta, patches, values };

describe('a distortion file', () => {
  it('is read as it was written', () => {
    expect(readDistortion(writeDistortion(sample), 'd.npz')).toEqual(sample);
  });

  it('cut short anywhere is refused', () => {
    const bytes = writeDistortion(sample);
    for (let length = 0; length < bytes.length; length += 17) {
      expect(() => readDistortion(bytes.subarray(0, length), 'd.npz')).toThrow(DataError);
    }
  });

  it('that claims more than memory holds is refused before anything is unpacked or listed', () => {
    const bytes = writeDistortion(sample);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // The first entry of the archive's directory: its signature, and 24 bytes on what it unpacks to (APPNOTE.TXT, section 4.3.12).
    const entry = view.getUint32(bytes.length - 22 + 16, true);
    expect(view.getUint32(entry, true)).toBe(0x02014b50);
    view.setUint32(entry + 24, 2 ** 31, true);
    expect(() => readDistortion(bytes, 'd.npz')).toThrow('unpack to more than');
    const many = { ...meta, shapes: Array.from({ length: 40_000 }, (): [number, number, number] => [65_535, 1, 1]) };
    const claimed = writeNpz({
      layer: { shape: [1], data: Int32Array.of(0) },
      meta: JSON.stringify({ ...many, layers: many.shapes.map(String) }),
    });
    expect(() => readDistortion(claimed, 'd.npz')).toThrow('"layer" has 1 rows');
  });

  it.each([
    ['a value that is not finite', { values: values.map((x, i) => (i === 4 ? Number.POSITIVE_INFINITY : x)) }, 'not finite'],
    ['a patch larger than its map', { values: values.map((x) => (Number.isNaN(x) ? 1 : x)) }, 'larger than'],
    ['a channel without candidates', { values: values.map((x, i) => (i < patches.length ? Number.NaN : x)) }, 'no candidate'],
    ['rows for other layers', { meta: { ...meta, layers: ['first'], shapes: shapes.slice(1) } }, 'make it'],
    ['another schema', { meta: { ...meta, schema: 'x' as 'tessera/distortion@1' } }, 'meta.schema'],
  ])('with %s is refused', (_, change, reason) => {
    const written = { ...sample, ...change };
    const rows = Math.round(written.values.length / patches.length);
    const bytes = writeNpz({
      distortion: { shape: [rows, patches.length], data: written.values },
      patches: { shape: [patches.length, 2], data: Int32Array.from(patches.flat()) },
      layer: { shape: [rows], data: Int32Array.from(channelRows(meta), ({ layer }) => layer) },
      channel: { shape: [rows], data: Int32Array.from(channelRows(meta), ({ channel }) => channel) },
      meta: JSON.stringify(written.meta),
    });
    expect(() => readDistortion(bytes, 'd.npz')).toThrow(reason);
    expect(() => readDistortion(bytes, 'd.npz')).toThrow(DataError);
  });
});
