// Products of matrices mod 2^64. Plain twin: plainMultiplyLongs.
import type { Compute } from './compute.js';

/** output [rows, columns] += a [rows, inner] · b [inner, columns] mod 2^64; all row-major and on the heap. Throws RangeError on other lengths. */
export async function multiplyLongs(
  compute: Compute,
  a: BigInt64Array,
  b: BigInt64Array,
  output: BigInt64Array,
  shape: { readonly rows: number; readonly inner: number; readonly columns: number },
): Promise<void> {
  const { rows, inner, columns } = shape;
  if (a.length !== rows * inner || b.length !== inner * columns || output.length !== rows * columns) {
    throw new RangeError(`multiplyLongs: ${a.length}, ${b.length} and ${output.length} values do not make ${rows} x ${inner} x ${columns}`);
  }
  await compute.run('multiplyLongs', [a, b, output, rows, inner, columns], Math.ceil(rows / 2), { costPerItem: 2 * inner * columns * 0.4 });
}
