// First-order effect of sharing comparisons, and gradients through a ReLU. Plain twins: blocks-plain.ts.
import type { Compute } from './compute.js';
import { scratchBytes } from './tiling.js';

/** Patches of one layer: height and width; [0, 1] is identity, [1, 0] zero. The first is [1, 1]. */
export type Candidates = readonly (readonly [height: number, width: number])[];

export interface BlockChangeShape {
  readonly images: number;
  readonly probes: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Upper end of the activation (ReLU6: 6). */
  readonly cap?: number;
  /** Sum the changes themselves, with their signs, instead of their squares. */
  readonly signed?: boolean;
}

/** Estimated nanoseconds for an element, a probe and a candidate, measured under Node 20 with the candidates of 32 × 32 maps. */
const nanoseconds = 0.2;

/**
 * out[c][k] += Σ over images and probes of (Σ over the map of gradient · change)², where change is block ReLU with candidate k less plain
 * ReLU. `values` [images, channels, height, width] are what the ReLU reads, `gradients` [probes, images, channels, height, width] belong to
 * what it gives; both lie on the heap. `out` may lie anywhere. Sums do not depend on how many threads there are.
 *
 * Throws RangeError for maps wider than the scratch memory holds (about 10,000 with four probes), or a length that does not fit.
 */
export async function addBlockChanges(
  compute: Compute,
  shape: BlockChangeShape,
  candidates: Candidates,
  values: Float32Array,
  gradients: Float32Array,
  out: Float64Array,
): Promise<void> {
  const { images, probes, channels, height, width } = shape;
  const elements = images * channels * height * width;
  if (values.length !== elements || gradients.length !== probes * elements || out.length !== channels * candidates.length) {
    throw new RangeError('addBlockChanges: an array does not have the size of its shape');
  }
  if (candidates[0]?.[0] !== 1 || candidates[0][1] !== 1) throw new RangeError('addBlockChanges: the first candidate is plain ReLU');
  if (scratchNeeded(shape, candidates.length) > scratchBytes)
    throw new RangeError(`addBlockChanges: a map ${width} wide with ${probes} probes`);
  if (elements === 0 || probes === 0) return;
  const record = compute.words(recordOf(shape, candidates).length);
  const sums = compute.longs(out.length);
  try {
    record.set(recordOf(shape, candidates));
    const heap = new Float64Array(sums.buffer, sums.byteOffset, sums.length);
    heap.fill(0);
    const costPerItem = images * height * width * (probes + 1) * candidates.length * nanoseconds;
    await compute.run('blockChanges', [record, values, gradients, sums], channels, { costPerItem });
    for (let i = 0; i < out.length; i++) out[i]! += heap[i]!;
  } finally {
    compute.free(record, sums);
  }
}

/** Bytes of scratch memory the kernel lays out: see assembly/blocks.ts. */
function scratchNeeded({ probes, width }: BlockChangeShape, candidates: number): number {
  const lanes = probes + 2;
  return 1024 + (width + 4) * (4 * (probes + 1) + 8 * (lanes + 1)) + 8 * (candidates + 2) * lanes;
}

function recordOf(shape: BlockChangeShape, candidates: Candidates): number[] {
  const { images, probes, channels, height, width, cap, signed } = shape;
  const blocks = candidates.slice(1).filter(([h, w]) => h > 0 && w > 0);
  const heights = [...new Set(blocks.map(([h]) => h))].sort((a, b) => a - b);
  const widths = [...new Set(blocks.map(([, w]) => w))].sort((a, b) => a - b);
  const find = (h: number, w: number): number => candidates.findIndex((candidate, k) => k > 0 && candidate[0] === h && candidate[1] === w);
  const capBits = new Int32Array(Float32Array.of(cap ?? 0).buffer)[0]!;
  return [
    ...[images, probes, channels, height, width, candidates.length, capBits, cap === undefined ? 0 : 1, heights.length, widths.length],
    ...[find(0, 1), find(1, 0), signed ? 0 : 1, ...heights, ...widths],
    ...heights.flatMap((h) => widths.map((w) => find(h, w))),
  ];
}

/**
 * output = gradient where 0 <= value < cap, else 0. `gradients` holds several probes of the same `values`, end to end.
 * In place where output is `gradients`.
 */
export function gateFloat(
  compute: Compute,
  gradients: Float32Array,
  values: Float32Array,
  cap: number,
  output: Float32Array,
): Promise<void> {
  return compute.run('gateFloats', [output, gradients, values, values.length, cap], gradients.length, { grain: 32 });
}
