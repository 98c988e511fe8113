// Block ReLU on floats, and its way back. Plain twins: block-relu-plain.ts.
import type { Compute } from './compute.js';
import { scratchBytes } from './tiling.js';

/** Height and width of the patch whose elements share a comparison; [0, 1] is identity, [1, 0] zero. */
type PatchSize = readonly [height: number, width: number];

export interface BlockRelu {
  /** Of one picture: channels, and rows and columns where there are any. */
  readonly shape: readonly number[];
  /** One a channel. */
  readonly patches: readonly PatchSize[];
  /** Upper end; Infinity for none. */
  readonly cap: number;
  /** Share of plain ReLU beside the block ReLU, from 0 to 1. */
  readonly alpha?: number;
  /** A negative sum s passes with the probability 1 − |s| / below, drawn from the seed: what a comparison does that ignores low bits. */
  readonly flip?: { readonly below: number; readonly seed: number };
}

/** Estimated nanoseconds of an element. */
const nanoseconds = 0.6;
/** Columns of a map that the kernel's scratch memory holds 16 bytes each of. */
const mostColumns = Math.floor((scratchBytes - 1024) / 16);

function patchesOnHeap(compute: Compute, { shape, patches }: BlockRelu): Int32Array {
  if (patches.length !== shape[0]) throw new RangeError(`block ReLU: ${patches.length} patches for ${shape[0]} channels`);
  if ((shape[2] ?? 1) > mostColumns) throw new RangeError(`block ReLU: a map of ${shape[2]} columns, which may be ${mostColumns}`);
  const heap = compute.words(2 * patches.length);
  heap.set(patches.flat());
  return heap;
}

/** Maps, and the arguments after the patches. */
function argumentsOf({ shape, cap, alpha = 0, flip }: BlockRelu): readonly number[] {
  const [channels = 1, height = 1, width = 1] = shape;
  return [channels, height, width, cap, alpha, flip?.below ?? 0, flip?.seed ?? 0];
}

const sizeOf = ([, height = 1, width = 1]: readonly number[]): number => height * width;

/**
 * output = x where the sum over x's patch is ≥ 0, else 0; the cap where the sum of x − cap is ≥ 0 too. Arrays lie on the heap and hold any
 * number of pictures. Throws RangeError for another number of patches than channels, and for maps of more than 65,472 columns.
 */
export async function blockRelu(compute: Compute, layer: BlockRelu, x: Float32Array, output: Float32Array): Promise<void> {
  const heap = patchesOnHeap(compute, layer);
  const size = sizeOf(layer.shape);
  try {
    await compute.run('blockRelu', [output, x, heap, ...argumentsOf(layer)], x.length / Math.max(1, size), {
      costPerItem: size * nanoseconds,
    });
  } finally {
    compute.free(heap);
  }
}

/**
 * output = what of the gradient passes the comparisons of {@link blockRelu} on x, which the gradient's maps repeat. In place where output is
 * the gradient.
 */
export async function blockReluGate(
  compute: Compute,
  layer: BlockRelu,
  x: Float32Array,
  gradient: Float32Array,
  output: Float32Array,
): Promise<void> {
  const heap = patchesOnHeap(compute, layer);
  const size = Math.max(1, sizeOf(layer.shape));
  try {
    await compute.run('blockReluGate', [output, gradient, x, x.length / size, heap, ...argumentsOf(layer)], gradient.length / size, {
      costPerItem: size * nanoseconds,
    });
  } finally {
    compute.free(heap);
  }
}
