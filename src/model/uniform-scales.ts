// Scales as the field's systems choose them: every activation and every weight has the same number of fraction bits, and truncation waits until
// a value has come through so many linear layers. For the ring of 2^64, where there is room for the product of several scales.
import { UsageError } from '../errors.js';
import type { Ranges } from './calibrate.js';
import type { Graph, ValueId } from './graph.js';
import { localFactor, type Scales } from './scales.js';

/** Fraction bits of activations and of weights. */
export const uniformFractionBits = 10;

/** Bits that values must stay below: two are kept free for truncation and comparison. */
const roomBits = 62;

/**
 * Scales with which a ReLU or truncation truncates only what has come through `truncateEvery` linear layers since the last truncation.
 * Throws UsageError where a value would leave the ring: sums and joins with it count too.
 */
export function uniformScales(
  graph: Graph,
  ranges: Ranges,
  { truncateEvery, marginBits }: { truncateEvery: number; marginBits: number },
): Scales {
  const unit = 2 ** uniformFractionBits;
  const scale = new Map<ValueId, number>([[graph.input.id, unit]]);
  const layers = new Map<ValueId, number>([[graph.input.id, 0]]);
  const truncateBits = new Map<string, number>();
  const lowBits = new Map<string, number>();
  for (const node of graph.nodes) {
    const scales = node.inputs.map((id) => scale.get(id)!);
    const since = Math.max(...node.inputs.map((id) => layers.get(id)!));
    let [own, count] = [Math.max(...scales), since];
    if (node.kind === 'conv') [own, count] = [own * unit, since + 1];
    else if (node.kind === 'averagepool' || node.kind === 'resample') own *= localFactor(node);
    else if (node.kind === 'product') [own, count] = [scales[0]! * scales[1]!, since + 1];
    else if (node.kind === 'relu' || node.kind === 'truncate') {
      const excess = Math.max(0, Math.round(Math.log2(own)) - uniformFractionBits);
      const dropped = since >= truncateEvery ? excess : 0;
      truncateBits.set(node.name, dropped);
      lowBits.set(node.name, excess);
      if (dropped > 0) [own, count] = [own / 2 ** dropped, 0];
    }
    const bits = Math.log2(Math.max(own * ranges.values.get(node.output)!.maximum, 1)) + marginBits;
    if (bits >= roomBits) {
      throw new UsageError(`layer ${node.name} needs ${Math.ceil(bits) + 2} bits when only every ${truncateEvery}th layer truncates`, {
        code: 'ring-too-small',
        where: '--truncate-every',
        hint: 'truncate more often',
      });
    }
    scale.set(node.output, own);
    layers.set(node.output, count);
  }
  return { scale, truncateBits, lowBits };
}
