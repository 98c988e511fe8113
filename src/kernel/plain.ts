// Slow and obvious twins of the kernels: what the fast ones must equal, on every shape. Integers are exact, floats differ by rounding.
import type { ConvGeometry, PoolGeometry } from './geometry.js';

type Numbers = Int32Array | Float32Array;

/** Elements of one kind, written and read by index. */
interface Elements<V> {
  readonly length: number;
  [index: number]: V;
}

/** Product and sum in a ring or in doubles. */
interface Arithmetic<V> {
  add(a: V, b: V): V;
  multiplyAdd(sum: V, a: V, b: V): V;
}

const ring: Arithmetic<number> = { add: (a, b) => (a + b) | 0, multiplyAdd: (sum, a, b) => (sum + Math.imul(a, b)) | 0 };
const real: Arithmetic<number> = { add: (a, b) => a + b, multiplyAdd: (sum, a, b) => sum + a * b };
const longRing: Arithmetic<bigint> = {
  add: (a, b) => BigInt.asIntN(64, a + b),
  multiplyAdd: (sum, a, b) => BigInt.asIntN(64, sum + a * b),
};

/** Input positions (y, x) under output (oy, ox), and their place in the kernel; those outside the map are left out. */
function* window(g: ConvGeometry | PoolGeometry, oy: number, ox: number): Generator<{ y: number; x: number; tap: number }> {
  for (let ky = 0; ky < g.kernelHeight; ky++) {
    for (let kx = 0; kx < g.kernelWidth; kx++) {
      const y = oy * g.strideY - g.padTop + ky * g.dilationY;
      const x = ox * g.strideX - g.padLeft + kx * g.dilationX;
      if (y >= 0 && y < g.inputHeight && x >= 0 && x < g.inputWidth) yield { y, x, tap: ky * g.kernelWidth + kx };
    }
  }
}

/** Twin of `convolve` and `convolveFloat`, by the definition of a convolution. `output` may hold the addend: it is added to. */
export function plainConvolve<T extends Numbers | BigInt64Array>(
  g: ConvGeometry,
  weights: T,
  input: T,
  batch: number,
  output: T,
  bias?: T,
): void {
  if (weights instanceof BigInt64Array) {
    const [x, y, b] = [input, output, bias] as unknown as readonly (BigInt64Array | undefined)[];
    convolveWith(longRing, g, weights, x!, batch, y!, b ?? new BigInt64Array(g.outputChannels));
  } else {
    const [x, y, b] = [input, output, bias] as unknown as readonly (Numbers | undefined)[];
    convolveWith(weights instanceof Int32Array ? ring : real, g, weights, x!, batch, y!, b ?? new Float32Array(g.outputChannels));
  }
}

function convolveWith<V>(
  arithmetic: Arithmetic<V>,
  g: ConvGeometry,
  weights: Elements<V>,
  input: Elements<V>,
  batch: number,
  output: Elements<V>,
  bias: Elements<V>,
): void {
  const channels = g.inputChannels / g.groups;
  const outputs = g.outputChannels / g.groups;
  const taps = g.kernelHeight * g.kernelWidth;
  let at = 0;
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < g.outputChannels; o++) {
      const firstChannel = n * g.inputChannels + Math.floor(o / outputs) * channels;
      for (let oy = 0; oy < g.outputHeight; oy++) {
        for (let ox = 0; ox < g.outputWidth; ox++) {
          let sum = arithmetic.add(output[at]!, bias[o]!);
          for (const { y, x, tap } of window(g, oy, ox)) {
            for (let c = 0; c < channels; c++) {
              const value = input[((firstChannel + c) * g.inputHeight + y) * g.inputWidth + x]!;
              sum = arithmetic.multiplyAdd(sum, weights[(o * channels + c) * taps + tap]!, value);
            }
          }
          output[at++] = sum;
        }
      }
    }
  }
}

/** Twin of the pools: folds the values of every window, starting from `start`. */
export function plainPool<T extends Numbers>(
  g: PoolGeometry,
  input: T,
  batch: number,
  output: T,
  start: number,
  fold: (a: number, b: number) => number,
): void {
  let at = 0;
  for (let map = 0; map < batch * g.channels; map++) {
    for (let oy = 0; oy < g.outputHeight; oy++) {
      for (let ox = 0; ox < g.outputWidth; ox++) {
        let value = start;
        for (const { y, x } of window(g, oy, ox)) value = fold(value, input[(map * g.inputHeight + y) * g.inputWidth + x]!);
        output[at++] = value;
      }
    }
  }
}

/** Twin of `multiplyLongs`: output[m][n] += Σ a[m][k] · b[k][n] mod 2^64. */
export function plainMultiplyLongs(
  a: BigInt64Array,
  b: BigInt64Array,
  rows: number,
  inner: number,
  columns: number,
  output: BigInt64Array,
): void {
  for (let m = 0; m < rows; m++) {
    for (let n = 0; n < columns; n++) {
      let sum = output[m * columns + n]!;
      for (let k = 0; k < inner; k++) sum += a[m * inner + k]! * b[k * columns + n]!;
      output[m * columns + n] = BigInt.asIntN(64, sum);
    }
  }
}
