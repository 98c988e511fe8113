// A small real network, built as a program: convolution, overlapping max pool, ReLU, twice convolution and ReLU with a skip connection, the
// second of them over blocks, and a fully connected layer.
import type { Words } from '../../src/kernel/compute.js';
import type { ConvGeometry, PoolGeometry } from '../../src/kernel/geometry.js';
import type { Patch, Program, ProgramWeights } from '../../src/model/program.js';
import { plainWords, setWords } from '../../src/ring/words.js';
import { smallProgram } from '../protocol/harness.js';

const conv = (inputChannels: number, size: number, outputChannels: number, kernel: number): ConvGeometry => ({
  inputChannels,
  inputHeight: size,
  inputWidth: size,
  outputChannels,
  outputHeight: kernel === size ? 1 : size,
  outputWidth: kernel === size ? 1 : size,
  kernelHeight: kernel,
  kernelWidth: kernel,
  strideY: 1,
  strideX: 1,
  dilationY: 1,
  dilationX: 1,
  padTop: kernel === size ? 0 : kernel >> 1,
  padLeft: kernel === size ? 0 : kernel >> 1,
  groups: 1,
});

const pool = (channels: number, size: number): PoolGeometry => ({
  channels,
  inputHeight: size,
  inputWidth: size,
  outputHeight: size / 2,
  outputWidth: size / 2,
  kernelHeight: 3,
  kernelWidth: 3,
  strideY: 2,
  strideX: 2,
  dilationY: 1,
  dilationX: 1,
  padTop: 1,
  padLeft: 1,
});

export interface Network {
  readonly program: Program;
  readonly weights: ProgramWeights;
  readonly inputs: number;
}

/** On pictures of 3 × size × size, `channels` wide; 8 bits dropped in each ReLU. */
export function smallNetwork(size: number, channels: number, ringBits = 32): Network {
  const half = size / 2;
  const high = ringBits - 2;
  const window = { low: 8, high };
  const patches: Patch[] = Array.from(
    { length: channels },
    (_, i) => [[1, 1] as const, [2, 2] as const, [0, 1] as const, [1, 0] as const][i % 4]!,
  );
  const program = smallProgram(
    [3, size, size],
    [
      { kind: 'linear', name: 'first', input: 0, output: 1, weights: 0, geometry: conv(3, size, channels, 3) },
      { kind: 'maxpool', name: 'pool', input: 1, output: 2, geometry: pool(channels, size), window: { low: 0, high } },
      { kind: 'relu', name: 'sharp', input: 2, output: 3, truncateBits: 8, window },
      { kind: 'linear', name: 'second', input: 3, output: 4, weights: 1, geometry: conv(channels, half, channels, 3) },
      { kind: 'relu', name: 'sharper', input: 4, output: 5, truncateBits: 8, window },
      { kind: 'linear', name: 'third', input: 5, output: 6, weights: 2, geometry: conv(channels, half, channels, 3) },
      { kind: 'add', name: 'skip', inputs: [6, 3], factors: [1, 256], output: 7 },
      { kind: 'relu', name: 'blocks', input: 7, output: 8, truncateBits: 8, window, patches },
      { kind: 'linear', name: 'last', input: 8, output: 9, weights: 3, geometry: conv(channels, half, 10, half) },
    ],
    [
      [channels, size, size],
      [channels, half, half],
      [channels, half, half],
      [channels, half, half],
      [channels, half, half],
      [channels, half, half],
      [channels, half, half],
      [channels, half, half],
      [10, 1, 1],
    ],
    ringBits,
  );
  const words = (length: number, value: (i: number) => number): Words => {
    const out = plainWords(ringBits, length);
    const values = Array.from({ length }, (_, i) => value(i));
    setWords(out, values);
    return out;
  };
  const layer = (count: number, outputs: number) => ({
    weights: words(count, (i) => ((i * 37) % 41) - 20),
    bias: words(outputs, (i) => 3 * i - 7),
  });
  return {
    program,
    weights: {
      layers: [
        layer(27 * channels, channels),
        layer(9 * channels * channels, channels),
        layer(9 * channels * channels, channels),
        layer(10 * channels * half * half, 10),
      ],
    },
    inputs: 3 * size * size,
  };
}
