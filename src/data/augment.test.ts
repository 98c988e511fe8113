import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { augmentInto, augmentLabels } from './augment.js';
import { createSequence } from './generated.js';
import { type Picture, type Preprocessing, planesOf, preprocess } from './preprocess.js';

function made(width: number, height: number, channels: 1 | 3): Picture {
  return { width, height, channels, pixels: Uint8Array.from({ length: width * height * channels }, (_, i) => (7 * i * i + 31 * i) % 256) };
}

const rgb: Preprocessing = { mean: [0.1, 0.2, 0.3], std: [0.5, 0.6, 0.7], channels: 'rgb' };
const size = fc.integer({ min: 3, max: 12 });

/** A border of black pixels, the cut, the mirror: one after the other. */
function shifted(picture: Picture, border: number, top: number, left: number, flip: boolean, height: number, width: number): Picture {
  const pixels = new Uint8Array(height * width * picture.channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [row, column] = [y + top, (flip ? width - 1 - x : x) + left];
      if (row < -border || column < -border) throw new Error('outside of the border');
      if (row < 0 || row >= picture.height || column < 0 || column >= picture.width) continue;
      for (let c = 0; c < picture.channels; c++)
        pixels[(y * width + x) * picture.channels + c] = picture.pixels[(row * picture.width + column) * picture.channels + c]!;
    }
  }
  return { width, height, channels: picture.channels, pixels };
}

describe('augmentation', () => {
  it('without anything to do is preprocessing, resized and cut in the middle too', () => {
    const settings = fc.record({
      channels: fc.constantFrom('rgb', 'bgr', 'gray' as const),
      resize: fc.constantFrom(undefined, 8),
      source: fc.constantFrom(1 as const, 3 as const),
    });
    fc.assert(
      fc.property(size, size, settings, (width, height, { channels, resize, source }) => {
        const scale = resize === undefined ? {} : { resize, crop: 6 };
        const mean = channels === 'gray' ? [0.3] : rgb.mean;
        const preprocessing: Preprocessing = { ...rgb, ...scale, mean, std: [0.5], channels };
        const picture = made(width, height, source);
        const expected = preprocess(picture, preprocessing);
        const out = new Float32Array(expected.length);
        augmentInto(picture, preprocessing, {}, createSequence(1), out, 'picture');
        expect(out).toEqual(expected);
      }),
    );
  });

  it('shifts within the border and mirrors, with the annotation going along', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(size, size, fc.integer({ min: 0, max: 4 }), fc.nat(), (width, height, crop, seed) => {
        const picture = made(width, height, 3);
        const out = new Float32Array(3 * width * height);
        const drawn = augmentInto(picture, rgb, { crop, flip: true }, createSequence(seed), out, 'picture');
        const { top, left } = drawn.cut;
        expect(Math.max(Math.abs(top), Math.abs(left))).toBeLessThanOrEqual(crop);
        seen.add(`${Math.sign(top)}${drawn.flip}`);
        expect(out).toEqual(preprocess(shifted(picture, crop, top, left, drawn.flip, height, width), rgb));
        const classes = Uint8Array.from({ length: width * height }, (_, i) => i % 100);
        const labels = new Int32Array(width * height);
        augmentLabels(classes, picture, drawn, 255, labels);
        const marked = shifted({ ...picture, channels: 1, pixels: classes.map((c) => c + 1) }, crop, top, left, drawn.flip, height, width);
        expect([...labels]).toEqual([...marked.pixels].map((c) => (c === 0 ? 255 : c - 1)));
      }),
      { numRuns: 300 },
    );
    expect(seen.size).toBe(6);
  });

  it('cuts a window of the preprocessing’s size anywhere in a larger picture', () => {
    const tops = new Set<number>();
    for (let seed = 0; seed < 200; seed++) {
      const out = new Float32Array(3 * 16);
      tops.add(augmentInto(made(9, 7, 3), { ...rgb, crop: 4 }, { crop: 0 }, createSequence(seed), out, 'picture').cut.top);
    }
    expect([...tops].sort()).toEqual([0, 1, 2, 3]);
  });

  it('covers a square with the mean and leaves the rest', () => {
    const picture = made(10, 10, 3);
    const plain = preprocess(picture, rgb);
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 6 }), (seed, cutout) => {
        const out = new Float32Array(300);
        augmentInto(picture, rgb, { cutout }, createSequence(seed), out, 'picture');
        const changed = [...out.keys()].filter((i) => out[i] !== plain[i]);
        expect(changed.length).toBeGreaterThan(0);
        expect(changed.length).toBeLessThanOrEqual(3 * cutout * cutout);
        expect(changed.every((i) => out[i] === 0)).toBe(true);
      }),
    );
  });

  it('recolours within limits: brightness scales all, without saturation a picture is grey', () => {
    const picture = made(8, 8, 3);
    const plain = preprocess(picture, { ...rgb, mean: [0], std: [1] });
    const constant = (value: number) => () => value;
    const recoloured = (random: () => number, colour: number): Float32Array => {
      const out = new Float32Array(plain.length);
      augmentInto(picture, { ...rgb, mean: [0], std: [1] }, { colour }, random, out, 'picture');
      return out;
    };
    expect([...recoloured(constant(0.5), 0.4)]).toEqual([...plain].map((v) => expect.closeTo(v, 5)));
    const grey = recoloured(constant(0), 1);
    expect(Math.max(...grey)).toBeCloseTo(0, 5);
    // Brightness and contrast as they are, saturation 0.
    const draws = [0.5, 0.5, 0];
    const faded = recoloured(() => draws.shift()!, 1);
    for (let i = 0; i < 64; i++)
      expect([faded[i + 64], faded[i + 128]]).toEqual([expect.closeTo(faded[i]!, 5), expect.closeTo(faded[i]!, 5)]);
  });

  it('moves float tensors too, but does not recolour them', () => {
    const values = Float32Array.from({ length: 2 * 4 * 4 }, (_, i) => i + 1);
    const out = new Float32Array(32);
    const drawn = augmentInto({ shape: [2, 4, 4], values }, rgb, { crop: 2, flip: true }, createSequence(3), out, 'tensor');
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 4; x++) {
        const [row, column] = [y + drawn.cut.top, (drawn.flip ? 3 - x : x) + drawn.cut.left];
        const inside = row >= 0 && row < 4 && column >= 0 && column < 4;
        expect(out[16 + y * 4 + x]).toBe(inside ? values[16 + row * 4 + column] : 0);
      }
    }
    expect(() => augmentInto({ shape: [2, 4, 4], values }, rgb, { colour: 0.2 }, createSequence(3), out, 'tensor')).toThrow(/not colours/);
    expect(planesOf(rgb)).toBe(3);
  });
});
