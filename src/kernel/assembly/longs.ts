// Multiplication of matrices mod 2^64. Scalar: x86 multiplies 64-bit words once a cycle in its integer unit, and V8's i64x2.mul takes
// nine instructions for two.

/** One row pair by one column pair: adds a . b to out. Where a row or column is single, both of its pointers are the same. */
function tile(a0: usize, a1: usize, b: usize, bNext: usize, inner: i32, bStride: usize, out0: usize, out1: usize, next: usize): void {
  let c00: i64 = 0;
  let c01: i64 = 0;
  let c10: i64 = 0;
  let c11: i64 = 0;
  const end = a0 + (<usize>inner << 3);
  while (a0 < end) {
    const x0 = load<i64>(a0);
    const x1 = load<i64>(a1);
    const y0 = load<i64>(b);
    const y1 = load<i64>(b + bNext);
    c00 += x0 * y0;
    c01 += x0 * y1;
    c10 += x1 * y0;
    c11 += x1 * y1;
    a0 += 8;
    a1 += 8;
    b += bStride;
  }
  store<i64>(out0, load<i64>(out0) + c00);
  if (next) store<i64>(out0 + next, load<i64>(out0 + next) + c01);
  if (out1 == out0) return;
  store<i64>(out1, load<i64>(out1) + c10);
  if (next) store<i64>(out1 + next, load<i64>(out1 + next) + c11);
}

/** out += a . b for row-major a [rows, inner], b [inner, columns]. Items are pairs of rows. */
export function multiplyLongs(a: usize, b: usize, out: usize, rows: i32, inner: i32, columns: i32, begin: i32, end: i32): void {
  const rowBytes = <usize>inner << 3;
  const outBytes = <usize>columns << 3;
  for (let pair = begin; pair < end; pair++) {
    const row = pair << 1;
    const two = row + 1 < rows;
    const a0 = a + <usize>row * rowBytes;
    const out0 = out + <usize>row * outBytes;
    for (let n = 0; n < columns; n += 2) {
      const at = <usize>n << 3;
      const next: usize = n + 1 < columns ? 8 : 0;
      tile(a0, two ? a0 + rowBytes : a0, b + at, next, inner, outBytes, out0 + at, two ? out0 + outBytes + at : out0 + at, next);
    }
  }
}
