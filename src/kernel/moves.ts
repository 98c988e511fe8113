// Moves of elements and the ways back through pools, on the heap. Plain twins: moves-plain.ts.
import type { Compute } from './compute.js';

/** Estimated nanoseconds of an element that is moved by a table. */
const nanoseconds = 0.7;

/** Runs with a table on the heap for as long. */
async function withTable(compute: Compute, table: Int32Array, use: (heap: Int32Array) => Promise<void>): Promise<void> {
  const heap = compute.words(table.length);
  heap.set(table);
  try {
    await use(heap);
  } finally {
    compute.free(heap);
  }
}

/** output[n][i] = input[n][order[i]], or 0 where order[i] is negative, for `count` pictures; with `add`, added to what is there. */
export function gatherMaps(
  compute: Compute,
  input: Float32Array,
  order: Int32Array,
  count: number,
  output: Float32Array,
  add: boolean,
): Promise<void> {
  if (output.length !== count * order.length) throw new RangeError('gatherMaps: an output does not have the size of its order');
  return withTable(compute, order, (heap) =>
    compute.run('gatherMaps', [output, input, heap, order.length, input.length / Math.max(1, count), add ? 1 : 0], count, {
      costPerItem: order.length * nanoseconds,
    }),
  );
}

/** Which inputs each output of a pool reads: pairs (output, input) within one map, in order of the outputs. */
export interface PoolTaps {
  readonly pairs: Int32Array;
  readonly inputs: number;
  readonly outputs: number;
}

const costOf = ({ pairs, inputs }: PoolTaps): { costPerItem: number } => ({ costPerItem: (pairs.length / 2 + inputs) * nanoseconds });

/** output[i] = Σ over pairs (o, i) of gradient[o] · shares[o], map after map; with `add`, added to what is there. */
export async function spreadPool(
  compute: Compute,
  pool: PoolTaps,
  shares: ArrayLike<number>,
  gradient: Float32Array,
  output: Float32Array,
  add: boolean,
): Promise<void> {
  const { pairs, inputs, outputs } = pool;
  const factors = compute.floats(shares.length);
  factors.set(shares);
  const maps = gradient.length / Math.max(1, outputs);
  await withTable(compute, pairs, (heap) =>
    compute.run('spreadPool', [output, gradient, heap, pairs.length / 2, factors, outputs, inputs, add ? 1 : 0], maps, costOf(pool)),
  );
  compute.free(factors);
}

/** The same, of each gradient all to the first of its window's greatest values; the gradient's maps repeat those of `values`. */
export function spreadMaxima(
  compute: Compute,
  pool: PoolTaps,
  values: Float32Array,
  gradient: Float32Array,
  output: Float32Array,
  add: boolean,
): Promise<void> {
  const { pairs, inputs, outputs } = pool;
  const maps = values.length / Math.max(1, inputs);
  const args = [outputs, inputs, add ? 1 : 0];
  return withTable(compute, pairs, (heap) =>
    compute.run(
      'spreadMaxima',
      [output, gradient, values, maps, heap, pairs.length / 2, ...args],
      gradient.length / Math.max(1, outputs),
      costOf(pool),
    ),
  );
}

/** Every `strideY`-th row and `strideX`-th column of maps of height × width, from (firstY, firstX) on: rows × columns of them. */
export interface PhasePlace {
  readonly rows: number;
  readonly columns: number;
  readonly height: number;
  readonly width: number;
  readonly firstY: number;
  readonly firstX: number;
  readonly strideY: number;
  readonly strideX: number;
}

/** Adds maps to the elements of larger maps that a place names. */
export function addPhases(compute: Compute, place: PhasePlace, part: Float32Array, output: Float32Array): Promise<void> {
  const { rows, columns, height, width, firstY, firstX, strideY, strideX } = place;
  const maps = part.length / Math.max(1, rows * columns);
  return compute.run('addPhases', [output, part, rows, columns, height, width, firstY, firstX, strideY, strideX], maps, {
    costPerItem: rows * columns * nanoseconds,
  });
}
