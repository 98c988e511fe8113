// Two-sample tests whose false-alarm rate is bounded exactly, at any sample size, without tables.
//
// Every sample carries a label, 0 or 1, drawn by a fair coin: which of two secrets it comes from. If the views of both secrets have one
// distribution, the labels are fair coins still when the views are known. Two statistics of such coins:
//
//   chi-square  over the cells of a projection, Q = sum (2 X - n)^2 / n with X ones among the n labels of a cell. Each term is the square of a
//               sub-Gaussian variable of variance proxy 1, so E exp(sQ) <= (1 - 2s)^(-m/2) for m cells, and by Laurent and Massart (2000,
//               lemma 1) P(Q >= m + 2 sqrt(mt) + 2t) <= exp(-t).
//   twins       samples with equal views, taken in disjoint pairs: the number of pairs with equal labels is Binomial(n, 1/2), and by
//               Hoeffding P(|2 equal - n| >= sqrt(2 n t)) <= 2 exp(-t). It sees the whole joint view at once, as far as it has twins.
//
// Walsh coefficients of byte histograms are sums of n fair signs when bytes are uniform: P(|W| >= sqrt(2 n t)) <= 2 exp(-t).

/** How far a statistic lies above its bound, in units of the bound: above 1 is an alarm. */
export interface Finding {
  readonly what: string;
  readonly excess: number;
}

/** Values in [0, 2^bits), one a sample. */
interface Values {
  readonly bits: number;
  readonly values: Int32Array;
}

/** Kept between calls, which come by the ten thousand. */
let counters = new Int32Array(0);

/** Samples by label and by the values of one to three fields: entry 2 cell + label. */
export function countCells(labels: Uint8Array, [a, b, c]: readonly Values[]): Int32Array {
  const bits = 1 + a!.bits + (b?.bits ?? 0) + (c?.bits ?? 0);
  if (counters.length < 2 ** bits) counters = new Int32Array(2 ** bits);
  const counts = counters.subarray(0, 2 ** bits).fill(0);
  if (b && c) countThree(counts, labels, a!.values, b.values, c.values, 1 + a!.bits, 1 + a!.bits + b.bits);
  else if (b) countTwo(counts, labels, a!.values, b.values, 1 + a!.bits);
  else for (let i = 0; i < labels.length; i++) counts[labels[i]! | (a!.values[i]! << 1)]!++;
  return counts;
}

function countTwo(counts: Int32Array, labels: Uint8Array, a: Int32Array, b: Int32Array, up: number): void {
  for (let i = 0; i < labels.length; i++) counts[labels[i]! | (a[i]! << 1) | (b[i]! << up)]!++;
}

function countThree(counts: Int32Array, labels: Uint8Array, a: Int32Array, b: Int32Array, c: Int32Array, upB: number, upC: number): void {
  for (let i = 0; i < labels.length; i++) counts[labels[i]! | (a[i]! << 1) | (b[i]! << upB) | (c[i]! << upC)]!++;
}

/** Chi-square of labels over cells, as a share of its bound. */
export function chiSquare(counts: Int32Array, t: number): number {
  let statistic = 0;
  let freedom = 0;
  for (let at = 0; at < counts.length; at += 2) {
    const [zeros, ones] = [counts[at]!, counts[at + 1]!];
    if (zeros + ones === 0) continue;
    freedom++;
    statistic += (ones - zeros) ** 2 / (zeros + ones);
  }
  return statistic / (freedom + 2 * Math.sqrt(freedom * t) + 2 * t);
}

/** Twins among whole views, given by two 32-bit hashes each. Returns the excess and how many pairs there were. */
export function twins(first: Int32Array, second: Int32Array, labels: Uint8Array, t: number): { excess: number; pairs: number } {
  const waiting = new Map<number, number>();
  let pairs = 0;
  let equal = 0;
  for (let i = 0; i < labels.length; i++) {
    const key = (first[i]! >>> 0) * 2 ** 21 + (second[i]! >>> 11);
    const other = waiting.get(key);
    if (other === undefined) waiting.set(key, labels[i]!);
    else {
      waiting.delete(key);
      pairs++;
      if (other === labels[i]) equal++;
    }
  }
  return { excess: pairs === 0 ? 0 : Math.abs(2 * equal - pairs) / Math.sqrt(2 * pairs * t), pairs };
}

/** The largest of the 255 Walsh coefficients of a histogram of bytes, as a share of its bound. */
export function walshExcess(histogram: Int32Array, t: number): number {
  const w = Float64Array.from(histogram);
  for (let half = 1; half < 256; half *= 2) {
    for (let i = 0; i < 256; i++) {
      if (i & half) continue;
      const [a, b] = [w[i]!, w[i + half]!];
      w[i] = a + b;
      w[i + half] = a - b;
    }
  }
  const bytes = w[0]!;
  let largest = 0;
  for (let i = 1; i < 256; i++) largest = Math.max(largest, Math.abs(w[i]!));
  return bytes === 0 ? 0 : largest / Math.sqrt(2 * bytes * t);
}

export function histogramOf(bytes: Uint8Array): Int32Array {
  const counts = new Int32Array(256);
  for (let i = 0; i < bytes.length; i++) counts[bytes[i]!]!++;
  return counts;
}

/** Histograms of the XOR and of the difference of two runs of bytes. */
export function histogramsOf(a: Uint8Array, b: Uint8Array): { xor: Int32Array; difference: Int32Array } {
  const [xor, difference] = [new Int32Array(256), new Int32Array(256)];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    xor[x ^ y]!++;
    difference[(x - y) & 255]!++;
  }
  return { xor, difference };
}
