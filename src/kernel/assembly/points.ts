// The one-dimensional transforms behind convolutions with 3 x 3 kernels in 36 multiplications a tile: from a side of a tile to six points, and
// back. In two dimensions each is that of itself.
//
// For words only additions, subtractions and products: exact in any ring, where Winograd's own algorithms need halves. It is the transpose of
// Karatsuba's product of three terms (a Toeplitz matrix times a vector, Fan and Hasan 2007), for three outputs:
//   y0 = (x0 - x1 - x2) w0 + x1 (w0 + w1) + x2 (w0 + w2)
//   y1 = (x2 - x1 - x3) w1 + x1 (w0 + w1) + x3 (w1 + w2)
//   y2 = (x4 - x2 - x3) w2 + x2 (w0 + w2) + x3 (w1 + w2)
// For floats F(4, 3) of Lavin and Gray 2016 (section 4.3), for four outputs, at the points 0, 1, -1, 2, -2 and infinity; and F(3, 4) at the
// same points for the gradient of three weights from four gradients of outputs.

export const points: usize = 36;
/** Bytes between points, beside their channels: else all of them fall into the same few sets of the first-level cache. */
export const gap: usize = 64;

/** Outputs and inputs along a side of a tile. */
@inline
export function outputsOf<T>(): usize {
  return isFloat<T>() ? 4 : 3;
}

@inline
export function inputsOf<T>(): usize {
  return isFloat<T>() ? 6 : 5;
}

/** The six combinations of the vectors of a tile's side, `step` bytes apart, to places `toStep` bytes apart. */
@inline
export function combineInputs<T>(from: usize, step: usize, to: usize, toStep: usize): void {
  const x1 = v128.load(from + step);
  const x2 = v128.load(from + 2 * step);
  const x3 = v128.load(from + 3 * step);
  if (isFloat<T>()) {
    const x4 = v128.load(from + 4 * step);
    const four = f32x4.splat(4);
    const even = f32x4.sub(x4, f32x4.mul(four, x2));
    const odd = f32x4.sub(x3, f32x4.mul(four, x1));
    const evens = f32x4.sub(x4, x2);
    const odds = f32x4.mul(f32x4.splat(2), f32x4.sub(x3, x1));
    v128.store(to, f32x4.add(f32x4.mul(four, f32x4.sub(v128.load(from), x2)), evens));
    v128.store(to + toStep, f32x4.add(even, odd));
    v128.store(to + 2 * toStep, f32x4.sub(even, odd));
    v128.store(to + 3 * toStep, f32x4.add(evens, odds));
    v128.store(to + 4 * toStep, f32x4.sub(evens, odds));
    v128.store(to + 5 * toStep, f32x4.sub(f32x4.sub(v128.load(from + 5 * step), x3), f32x4.mul(four, f32x4.sub(x3, x1))));
  } else {
    v128.store(to, i32x4.sub(i32x4.sub(v128.load(from), x1), x2));
    v128.store(to + toStep, i32x4.sub(i32x4.sub(x2, x1), x3));
    v128.store(to + 2 * toStep, i32x4.sub(i32x4.sub(v128.load(from + 4 * step), x2), x3));
    v128.store(to + 3 * toStep, x1);
    v128.store(to + 4 * toStep, x2);
    v128.store(to + 5 * toStep, x3);
  }
}

/** The six combinations of three weights. */
@inline
export function combineWeights<T>(from: usize, step: usize, to: usize, toStep: usize): void {
  const w0 = v128.load(from);
  const w1 = v128.load(from + step);
  const w2 = v128.load(from + 2 * step);
  if (isFloat<T>()) {
    const sixth = f32x4.splat(1.0 / 6.0);
    const twelfth = f32x4.splat(1.0 / 12.0);
    const outer = f32x4.mul(sixth, f32x4.add(w0, w2));
    const inner = f32x4.mul(sixth, w1);
    const wide = f32x4.add(f32x4.mul(f32x4.splat(1.0 / 24.0), w0), f32x4.mul(sixth, w2));
    const half = f32x4.mul(twelfth, w1);
    v128.store(to, f32x4.mul(f32x4.splat(0.25), w0));
    v128.store(to + toStep, f32x4.neg(f32x4.add(outer, inner)));
    v128.store(to + 2 * toStep, f32x4.sub(inner, outer));
    v128.store(to + 3 * toStep, f32x4.add(wide, half));
    v128.store(to + 4 * toStep, f32x4.sub(wide, half));
    v128.store(to + 5 * toStep, w2);
  } else {
    v128.store(to, w0);
    v128.store(to + toStep, w1);
    v128.store(to + 2 * toStep, w2);
    v128.store(to + 3 * toStep, i32x4.add(w0, w1));
    v128.store(to + 4 * toStep, i32x4.add(w0, w2));
    v128.store(to + 5 * toStep, i32x4.add(w1, w2));
  }
}

/** The outputs of six sums. */
@inline
export function combineSums<T>(from: usize, step: usize, to: usize, toStep: usize): void {
  if (isFloat<T>()) {
    const m1 = v128.load(from + step);
    const m2 = v128.load(from + 2 * step);
    const m3 = v128.load(from + 3 * step);
    const m4 = v128.load(from + 4 * step);
    const near = f32x4.add(m1, m2);
    const nearOdd = f32x4.sub(m1, m2);
    const far = f32x4.add(m3, m4);
    const farOdd = f32x4.sub(m3, m4);
    v128.store(to, f32x4.add(f32x4.add(v128.load(from), near), far));
    v128.store(to + toStep, f32x4.add(nearOdd, f32x4.add(farOdd, farOdd)));
    v128.store(to + 2 * toStep, f32x4.add(near, f32x4.mul(f32x4.splat(4), far)));
    const last = f32x4.add(nearOdd, f32x4.mul(f32x4.splat(8), farOdd));
    v128.store(to + 3 * toStep, f32x4.add(last, v128.load(from + 5 * step)));
  } else {
    const m3 = v128.load(from + 3 * step);
    const m4 = v128.load(from + 4 * step);
    const m5 = v128.load(from + 5 * step);
    v128.store(to, i32x4.add(v128.load(from), i32x4.add(m3, m4)));
    v128.store(to + toStep, i32x4.add(v128.load(from + step), i32x4.add(m3, m5)));
    v128.store(to + 2 * toStep, i32x4.add(v128.load(from + 2 * step), i32x4.add(m4, m5)));
  }
}

/** The six combinations of four output gradients. */
@inline
export function combineGradients(from: usize, step: usize, to: usize, toStep: usize): void {
  const g0 = v128.load(from);
  const g1 = v128.load(from + step);
  const g2 = v128.load(from + 2 * step);
  const g3 = v128.load(from + 3 * step);
  const sixth = f32x4.splat(1.0 / 6.0);
  const even = f32x4.mul(sixth, f32x4.add(g0, g2));
  const odd = f32x4.mul(sixth, f32x4.add(g1, g3));
  const evens = f32x4.add(f32x4.mul(f32x4.splat(1.0 / 24.0), g0), f32x4.mul(sixth, g2));
  const odds = f32x4.add(f32x4.mul(f32x4.splat(1.0 / 12.0), g1), f32x4.mul(f32x4.splat(1.0 / 3.0), g3));
  v128.store(to, f32x4.mul(f32x4.splat(0.25), g0));
  v128.store(to + toStep, f32x4.neg(f32x4.add(even, odd)));
  v128.store(to + 2 * toStep, f32x4.sub(odd, even));
  v128.store(to + 3 * toStep, f32x4.add(evens, odds));
  v128.store(to + 4 * toStep, f32x4.sub(evens, odds));
  v128.store(to + 5 * toStep, g3);
}

/** Three weights' gradients of six sums. */
@inline
export function combineProducts(from: usize, step: usize, to: usize, toStep: usize): void {
  const m1 = v128.load(from + step);
  const m2 = v128.load(from + 2 * step);
  const m3 = v128.load(from + 3 * step);
  const m4 = v128.load(from + 4 * step);
  const near = f32x4.add(m1, m2);
  const far = f32x4.add(m3, m4);
  v128.store(to, f32x4.add(f32x4.add(v128.load(from), near), far));
  v128.store(to + toStep, f32x4.add(f32x4.sub(m1, m2), f32x4.mul(f32x4.splat(2), f32x4.sub(m3, m4))));
  v128.store(to + 2 * toStep, f32x4.add(f32x4.add(near, f32x4.mul(f32x4.splat(4), far)), v128.load(from + 5 * step)));
}

/** The first 1, 2 or 4 columns of four vectors as rows: a vector each, `step` bytes apart. */
@inline
export function storeColumns(a: v128, b: v128, c: v128, d: v128, to: usize, step: usize, columns: i32): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  v128.store(to, v128.shuffle<i64>(ab, cd, 0, 2));
  if (columns == 1) return;
  v128.store(to + step, v128.shuffle<i64>(ab, cd, 1, 3));
  if (columns == 2) return;
  const ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(to + 2 * step, v128.shuffle<i64>(ab1, cd1, 0, 2));
  v128.store(to + 3 * step, v128.shuffle<i64>(ab1, cd1, 1, 3));
}
