// Multiplication of packed 32-bit matrices, integers mod 2^32 and floats alike. The left operand lies in panels of 4 rows
// ([panel][k][4]), the right one in panels of 8 columns ([k][8]). A tile of 4 x 8 keeps 8 accumulators, 2 columns and a row
// element in the 15 vector registers V8 hands out on x86. Unrolling the loop over k costs 5 to 15 % there, as do 2 x 16, 6 x 8 and
// 4 x 12 tiles.

/** Tile of 4 x 8 over kc steps: to = from + bias + a . b, rows of from and to at their strides in bytes. */
export function tile8<T>(a: usize, b: usize, kc: i32, from: usize, fromStride: usize, bias: usize, to: usize, toStride: usize): void {
  let s = v128.load_splat<T>(bias);
  let c00 = v128.add<T>(s, v128.load(from));
  let c01 = v128.add<T>(s, v128.load(from, 16));
  from += fromStride;
  s = v128.load_splat<T>(bias, 4);
  let c10 = v128.add<T>(s, v128.load(from));
  let c11 = v128.add<T>(s, v128.load(from, 16));
  from += fromStride;
  s = v128.load_splat<T>(bias, 8);
  let c20 = v128.add<T>(s, v128.load(from));
  let c21 = v128.add<T>(s, v128.load(from, 16));
  from += fromStride;
  s = v128.load_splat<T>(bias, 12);
  let c30 = v128.add<T>(s, v128.load(from));
  let c31 = v128.add<T>(s, v128.load(from, 16));

  const end = a + (<usize>kc << 4);
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    s = v128.load_splat<T>(a);
    c00 = v128.add<T>(c00, v128.mul<T>(s, b0));
    c01 = v128.add<T>(c01, v128.mul<T>(s, b1));
    s = v128.load_splat<T>(a, 4);
    c10 = v128.add<T>(c10, v128.mul<T>(s, b0));
    c11 = v128.add<T>(c11, v128.mul<T>(s, b1));
    s = v128.load_splat<T>(a, 8);
    c20 = v128.add<T>(c20, v128.mul<T>(s, b0));
    c21 = v128.add<T>(c21, v128.mul<T>(s, b1));
    s = v128.load_splat<T>(a, 12);
    c30 = v128.add<T>(c30, v128.mul<T>(s, b0));
    c31 = v128.add<T>(c31, v128.mul<T>(s, b1));
    a += 16;
    b += 32;
  }

  v128.store(to, c00);
  v128.store(to, c01, 16);
  to += toStride;
  v128.store(to, c10);
  v128.store(to, c11, 16);
  to += toStride;
  v128.store(to, c20);
  v128.store(to, c21, 16);
  to += toStride;
  v128.store(to, c30);
  v128.store(to, c31, 16);
}

/** As tile8 for the first 4 columns of a panel: the end of a map whose size leaves 2 to 4. */
export function tile4<T>(a: usize, b: usize, kc: i32, from: usize, fromStride: usize, bias: usize, to: usize, toStride: usize): void {
  let c0 = v128.add<T>(v128.load_splat<T>(bias), v128.load(from));
  from += fromStride;
  let c1 = v128.add<T>(v128.load_splat<T>(bias, 4), v128.load(from));
  from += fromStride;
  let c2 = v128.add<T>(v128.load_splat<T>(bias, 8), v128.load(from));
  from += fromStride;
  let c3 = v128.add<T>(v128.load_splat<T>(bias, 12), v128.load(from));
  const end = a + (<usize>kc << 4);
  while (a < end) {
    const b0 = v128.load(b);
    c0 = v128.add<T>(c0, v128.mul<T>(v128.load_splat<T>(a), b0));
    c1 = v128.add<T>(c1, v128.mul<T>(v128.load_splat<T>(a, 4), b0));
    c2 = v128.add<T>(c2, v128.mul<T>(v128.load_splat<T>(a, 8), b0));
    c3 = v128.add<T>(c3, v128.mul<T>(v128.load_splat<T>(a, 12), b0));
    a += 16;
    b += 32;
  }
  v128.store(to, c0);
  to += toStride;
  v128.store(to, c1);
  to += toStride;
  v128.store(to, c2);
  to += toStride;
  v128.store(to, c3);
}

/**
 * One column: to[0..4) = from[0..4) + bias + a . b for a panel of 4 rows, b's elements `bStride` bytes apart. Four partial
 * sums hide the latency of float addition.
 */
export function tile1<T>(a: usize, b: usize, bStride: usize, kc: i32, from: usize, bias: usize, to: usize): void {
  let c0 = v128.add<T>(v128.load(bias), v128.load(from));
  let c1 = v128.splat<T>(0);
  let c2 = v128.splat<T>(0);
  let c3 = v128.splat<T>(0);
  let k = kc;
  for (; k >= 4; k -= 4) {
    c0 = v128.add<T>(c0, v128.mul<T>(v128.load(a), v128.load_splat<T>(b)));
    b += bStride;
    c1 = v128.add<T>(c1, v128.mul<T>(v128.load(a, 16), v128.load_splat<T>(b)));
    b += bStride;
    c2 = v128.add<T>(c2, v128.mul<T>(v128.load(a, 32), v128.load_splat<T>(b)));
    b += bStride;
    c3 = v128.add<T>(c3, v128.mul<T>(v128.load(a, 48), v128.load_splat<T>(b)));
    b += bStride;
    a += 64;
  }
  for (; k > 0; k--) {
    c0 = v128.add<T>(c0, v128.mul<T>(v128.load(a), v128.load_splat<T>(b)));
    b += bStride;
    a += 16;
  }
  v128.store(to, v128.add<T>(v128.add<T>(c0, c1), v128.add<T>(c2, c3)));
}

/**
 * to = a . b with both operands packed whole: `panels` panels of 4 rows, tiles of 8 columns, row-major output of tiles * 8
 * columns. Items are tiles. The inner loops of a convolution by themselves: benchmarks measure how close those come to the ceiling.
 */
@inline
function multiplyPacked<T>(a: usize, b: usize, k: i32, panels: i32, to: usize, tiles: i32, zeros: usize, begin: i32, end: i32): void {
  const rowBytes = <usize>tiles << 5;
  for (let m = 0; m < panels; m++) {
    for (let t = begin; t < end; t++) {
      tile8<T>(a + ((<usize>m * k) << 4), b + ((<usize>t * k) << 5), k, zeros, 0, zeros, to + ((<usize>m * rowBytes) << 2) + (<usize>t << 5), rowBytes);
    }
  }
}

export function multiplyPackedWords(a: usize, b: usize, k: i32, panels: i32, to: usize, tiles: i32, zeros: usize, begin: i32, end: i32): void {
  multiplyPacked<i32>(a, b, k, panels, to, tiles, zeros, begin, end);
}

export function multiplyPackedFloats(a: usize, b: usize, k: i32, panels: i32, to: usize, tiles: i32, zeros: usize, begin: i32, end: i32): void {
  multiplyPacked<f32>(a, b, k, panels, to, tiles, zeros, begin, end);
}
