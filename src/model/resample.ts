// The weights of a resampling in fixed point.
import type { ResampleNode } from './graph.js';

/** Bits of a weight that no number of bits gives exactly: it is off by less than 1/512. */
const roundedBits = 8;

/** Fraction bits of a resampling's integer weights: as few as give every weight exactly, at most {@link roundedBits}. */
export function resampleBits({ weights }: Pick<ResampleNode, 'weights'>): number {
  for (let bits = 0; bits < roundedBits; bits++)
    if (weights.every((w) => Math.abs(w * 2 ** bits - Math.round(w * 2 ** bits)) < 1e-6)) return bits;
  return roundedBits;
}

/** Integer weights at scale 2^{@link resampleBits}; those of one output add up to what they did before rounding. */
export function resampleWeights(node: Pick<ResampleNode, 'weights' | 'taps'>): readonly number[] {
  const unit = 2 ** resampleBits(node);
  const rounded = node.weights.map((w) => Math.round(w * unit));
  for (let from = 0; from < rounded.length; from += node.taps) {
    const own = node.weights.slice(from, from + node.taps);
    const missing = Math.round(own.reduce((a, b) => a + b, 0) * unit) - rounded.slice(from, from + node.taps).reduce((a, b) => a + b, 0);
    const greatest = own.reduce((best, w, t) => (Math.abs(w) > Math.abs(own[best]!) ? t : best), 0);
    rounded[from + greatest]! += missing;
  }
  return rounded;
}
