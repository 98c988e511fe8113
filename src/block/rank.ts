// Rank correlation: whether one measurement orders things as another does.

/** Places in ascending order, from 0; equal values share the mean of theirs. */
function ranksOf(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const ranks = new Float64Array(values.length);
  for (let from = 0, to = 0; from < order.length; from = to) {
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let i = from; i < to; i++) ranks[order[i]!] = (from + to - 1) / 2;
  }
  return ranks;
}

/** Spearman's rank correlation of equally many numbers, −1 to 1; NaN where one of them has a single value throughout. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [ranksOf(a), ranksOf(b)];
  const mean = (a.length - 1) / 2;
  const product = (u: Float64Array, v: Float64Array): number => u.reduce((sum, value, i) => sum + (value - mean) * (v[i]! - mean), 0);
  return product(x, y) / Math.sqrt(product(x, x) * product(y, y));
}
