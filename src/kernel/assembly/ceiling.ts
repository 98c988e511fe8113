// The machine's own ceiling: multiply-adds whose operands lie in registers and in the first-level cache. Benchmarks only.

/** 8 accumulators x 4 lanes, `steps` times over 1 KiB at `data`: 32 multiply-adds a step. */
function multiplyAdds<T>(data: usize, steps: i32): v128 {
  const s0 = v128.load_splat<T>(data);
  const s1 = v128.load_splat<T>(data, 4);
  const s2 = v128.load_splat<T>(data, 8);
  const s3 = v128.load_splat<T>(data, 12);
  let c0 = s0;
  let c1 = s0;
  let c2 = s0;
  let c3 = s0;
  let c4 = s0;
  let c5 = s0;
  let c6 = s0;
  let c7 = s0;
  for (let i = 0; i < steps; i++) {
    const p = data + ((<usize>i << 5) & 1023);
    const a = v128.load(p);
    const b = v128.load(p, 16);
    c0 = v128.add<T>(c0, v128.mul<T>(a, s0));
    c1 = v128.add<T>(c1, v128.mul<T>(b, s0));
    c2 = v128.add<T>(c2, v128.mul<T>(a, s1));
    c3 = v128.add<T>(c3, v128.mul<T>(b, s1));
    c4 = v128.add<T>(c4, v128.mul<T>(a, s2));
    c5 = v128.add<T>(c5, v128.mul<T>(b, s2));
    c6 = v128.add<T>(c6, v128.mul<T>(a, s3));
    c7 = v128.add<T>(c7, v128.mul<T>(b, s3));
  }
  return v128.xor(v128.xor(v128.xor(c0, c1), v128.xor(c2, c3)), v128.xor(v128.xor(c4, c5), v128.xor(c6, c7)));
}

/** Items are runs of `steps` steps each; 16 bytes at `out` per item keep the work from being optimised away. */
export function ceilingWords(data: usize, steps: i32, out: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) v128.store(out + (<usize>i << 4), multiplyAdds<i32>(data, steps));
}

export function ceilingFloats(data: usize, steps: i32, out: usize, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) v128.store(out + (<usize>i << 4), multiplyAdds<f32>(data, steps));
}
