import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../errors.js';
import { readNpz, textOf, writeNpz } from './npy.js';

const sample = {
  reals: { shape: [2, 3], data: Float64Array.of(0, Number.NaN, -1.5, 2 ** -1074, 1e300, Number.POSITIVE_INFINITY) },
  words: { shape: [4], data: Int32Array.of(-1, 0, 1, 2 ** 31 - 1) },
  none: { shape: [0, 5], data: new Float32Array(0) },
  text: '{"layer": "ζ🙂"}',
};

function hasNumpy(): boolean {
  try {
    execFileSync('python3', ['-c', 'import numpy'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('.npz archives', () => {
  it('are read as they were written', () => {
    const read = readNpz(writeNpz(sample), 'sample.npz');
    expect(read.get('reals')).toMatchObject({ kind: '<f8', ...sample.reals });
    expect(read.get('words')).toMatchObject({ kind: '<i4', ...sample.words });
    expect(read.get('none')?.shape).toEqual([0, 5]);
    expect(textOf(read.get('text')!, 'text')).toBe(sample.text);
  });

  it('hold any string and any bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.uint8Array(), (text, data) => {
        const read = readNpz(writeNpz({ text, data: { shape: [data.length], data } }), 'x');
        expect(textOf(read.get('text')!, 'text')).toBe(text.replace(/\0.*$/s, ''));
        expect(read.get('data')?.data).toEqual(data);
      }),
    );
  });

  it('have the same bytes for the same content', () => {
    expect(writeNpz(sample)).toEqual(writeNpz(sample));
  });

  it('cut short anywhere are refused', () => {
    const whole = writeNpz(sample);
    for (let length = 0; length < whole.length; length += 13) {
      expect(() => readNpz(whole.subarray(0, length), 'cut.npz')).toThrow(DataError);
    }
  });

  it('refuse to give numbers as a string', () => {
    expect(() => textOf(readNpz(writeNpz(sample), 'x').get('reals')!, 'reals')).toThrow(DataError);
  });

  it.skipIf(!hasNumpy())('open in numpy (skipped where there is none)', () => {
    const folder = mkdtempSync(join(tmpdir(), 'npy-'));
    writeFileSync(join(folder, 'a.npz'), writeNpz(sample));
    const program =
      'import numpy,sys; f=numpy.load(sys.argv[1]); print(f["reals"].dtype, f["reals"].shape, f["words"].tolist(), f["none"].shape, str(f["text"]))';
    const printed = execFileSync('python3', ['-c', program, join(folder, 'a.npz')], { encoding: 'utf8' });
    rmSync(folder, { recursive: true });
    expect(printed.trim()).toBe(`float64 (2, 3) [-1, 0, 1, 2147483647] (0, 5) ${sample.text}`);
  });
});
