// Slow and obvious twin of resample.ts.

/** Twin of `resample`: arrays instead of heap arrays, any numbers. */
export function plainResample(
  { outer, inputs, inner }: { readonly outer: number; readonly inputs: number; readonly inner: number },
  taps: number,
  positions: ArrayLike<number>,
  weights: ArrayLike<number>,
  input: ArrayLike<number>,
): number[] {
  const length = positions.length / taps;
  return Array.from({ length: outer * length * inner }, (_, i) => {
    const [a, o, b] = [Math.floor(i / (length * inner)), Math.floor(i / inner) % length, i % inner];
    let sum = 0;
    for (let t = 0; t < taps; t++) sum += weights[o * taps + t]! * input[(a * inputs + positions[o * taps + t]!) * inner + b]!;
    return sum;
  });
}
