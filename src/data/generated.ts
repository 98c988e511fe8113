// Pictures made from a seed, for calibration where there are no real ones. Not here: anything that has to be unpredictable.
import type { Preprocessing } from './preprocess.js';

/**
 * Input tensors [count, ...shape] with structure at several scales: each plane is a sum of random blocks from coarse to fine, spread over
 * the range that pixels 0 … 255 have after preprocessing. Flat noise alone would average out in the first layers.
 * @param shape planes × height × width, or any other shape, which is then taken as one plane.
 */
export function generatePictures(shape: readonly number[], preprocessing: Preprocessing, count: number, seed: number): Float32Array {
  const random = createSequence(seed);
  const [planes, height, width] = shape.length === 3 ? (shape as [number, number, number]) : [1, 1, shape.reduce((a, b) => a * b, 1)];
  const out = new Float32Array(count * planes * height * width);
  for (let plane = 0; plane < count * planes; plane++) {
    const mean = preprocessing.mean[preprocessing.mean.length === 1 ? 0 : plane % planes] ?? 0;
    const std = preprocessing.std[preprocessing.std.length === 1 ? 0 : plane % planes] ?? 1;
    const pixels = blocks(height, width, random);
    out.set(
      pixels.map((value) => (value - mean) / std),
      plane * height * width,
    );
  }
  return out;
}

/** One plane of values in [0, 1]: blocks of half, a quarter, … of the longer side, each scale half as strong as the one before. */
function blocks(height: number, width: number, random: () => number): Float32Array {
  const plane = new Float32Array(height * width);
  let strength = 1;
  for (let size = Math.max(1, Math.max(height, width) >> 1); ; size >>= 1) {
    const columns = Math.ceil(width / size);
    const values = Float32Array.from({ length: columns * Math.ceil(height / size) }, () => strength * (2 * random() - 1));
    for (let y = 0; y < height; y++) {
      const row = Math.floor(y / size) * columns;
      for (let x = 0; x < width; x++) plane[y * width + x]! += values[row + Math.floor(x / size)]!;
    }
    strength /= 2;
    if (size === 1) break;
  }
  // Sums reach ±2 but mostly stay within ±1; what is beyond is cut, as over-exposed pixels are.
  return plane.map((value) => Math.min(1, Math.max(0, 0.5 + value / 2)));
}

/** Numbers in [0, 1) from a seed: a Weyl sequence through a 32-bit finaliser (constants of MurmurHash3's). */
export function createSequence(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}
