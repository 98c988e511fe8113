import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Picture, preprocess, resizeBilinear, sizeAfter } from './preprocess.js';

/** The picture whose sample i is (7 i² + 31 i) mod 256; the reference hashes below were made from the same formula. */
function made(width: number, height: number, channels: 1 | 3): Picture {
  const pixels = Uint8Array.from({ length: width * height * channels }, (_, i) => (7 * i * i + 31 * i) % 256);
  return { width, height, channels, pixels };
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}

describe('resizeBilinear', () => {
  // SHA-256 of Image.resize((w, h), Image.BILINEAR) in Pillow 9.4.
  it.each([
    [13, 7, 3, 5, 3, 'f44bd4802709455e'],
    [5, 9, 3, 11, 20, 'acf8bdec62615f1d'],
    [40, 30, 1, 7, 6, '8f1bfa8993bd876d'],
    [1, 1, 3, 3, 4, '6246cb13d365a33b'],
    [64, 48, 3, 32, 32, '1045e00b727580cc'],
    [3, 3, 1, 2, 2, '25db669623f8fab8'],
  ] as const)('%i × %i × %i to %i × %i is Pillow’s', (width, height, channels, newWidth, newHeight, expected) => {
    expect(digest(resizeBilinear(made(width, height, channels), newWidth, newHeight).pixels)).toBe(expected);
  });

  it('keeps a flat picture flat at any size', () => {
    const sizes = fc.record({ width: fc.integer({ min: 1, max: 40 }), height: fc.integer({ min: 1, max: 40 }) });
    fc.assert(
      fc.property(sizes, sizes, fc.integer({ min: 0, max: 255 }), (from, to, value) => {
        const flat = { ...from, channels: 1 as const, pixels: new Uint8Array(from.width * from.height).fill(value) };
        const { pixels } = resizeBilinear(flat, to.width, to.height);
        expect(pixels.length).toBe(to.width * to.height);
        expect(pixels.every((pixel) => pixel === value)).toBe(true);
      }),
    );
  });
});

describe('preprocess', () => {
  it('converts to grey as Pillow does', () => {
    const values = preprocess(made(40, 40, 3), { mean: [0], std: [1 / 255], channels: 'gray' });
    expect(digest(Uint8Array.from(values, Math.round))).toBe('e4b37c590fa549b2');
  });

  it('orders planes and normalises each with its own mean and deviation', () => {
    const picture: Picture = { width: 1, height: 1, channels: 3, pixels: Uint8Array.of(255, 51, 0) };
    const common = { mean: [0.1, 0.2, 0.3], std: [1, 2, 4] };
    const near = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 6));
    expect([...preprocess(picture, { ...common, channels: 'rgb' })]).toEqual(near([0.9, 0, -0.075]));
    expect([...preprocess(picture, { ...common, channels: 'bgr' })]).toEqual(near([-0.1, 0, 0.175]));
  });

  it('cuts the centre after scaling the shorter side', () => {
    const preprocessing = { resize: 8, crop: 6, mean: [0], std: [1], channels: 'rgb' as const };
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 30 }), (width, height) => {
        expect(preprocess(made(width, height, 3), preprocessing).length).toBe(3 * 36);
      }),
    );
    expect(sizeAfter({ resize: 256, mean: [0], std: [1], channels: 'rgb' }, 375, 500)).toEqual([256, 341]);
  });

  it('refuses a picture smaller than the crop, by name', () => {
    const preprocessing = { crop: 32, mean: [0], std: [1], channels: 'rgb' as const };
    expect(() => preprocess(made(31, 40, 3), preprocessing, 'small.png')).toThrow(/small\.png is 31 × 40 pixels, too small/);
  });
});
