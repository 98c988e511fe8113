// A made-up network of every kind of step, for measuring a machine with. Its answers mean nothing.
import type { Words } from '../kernel/compute.js';
import type { ConvGeometry, PoolGeometry } from '../kernel/geometry.js';
import { programHash } from '../model/files.js';
import type { Patch, Program, Step } from '../model/program.js';
import { plainWords } from '../ring/words.js';
import type { StoredModel } from './model-folder.js';

/** A stack of stride-1 convolution that keeps its map's size. */
export const sameConv = (inputs: number, outputs: number, size: number, kernel: number): ConvGeometry => ({
  inputChannels: inputs,
  inputHeight: size,
  inputWidth: size,
  outputChannels: outputs,
  outputHeight: size,
  outputWidth: size,
  kernelHeight: kernel,
  kernelWidth: kernel,
  strideY: 1,
  strideX: 1,
  dilationY: 1,
  dilationX: 1,
  padTop: kernel >> 1,
  padLeft: kernel >> 1,
  groups: 1,
});

/** A pool of square windows over square maps. */
export const squarePool = (channels: number, size: number, kernel: number, stride: number): PoolGeometry => ({
  channels,
  inputHeight: size,
  inputWidth: size,
  outputHeight: size / stride,
  outputWidth: size / stride,
  kernelHeight: kernel,
  kernelWidth: kernel,
  strideY: stride,
  strideX: stride,
  dilationY: 1,
  dilationX: 1,
  padTop: (kernel - stride + 1) >> 1,
  padLeft: (kernel - stride + 1) >> 1,
});

type Shape = readonly [channels: number, height: number, width: number];

/** A chain of steps that is being written: each reads the one before. */
function createChain(input: Shape, ringBits: number) {
  const shapes: Shape[] = [input];
  const steps: Step[] = [];
  const layers: { weights: Words; bias: Words }[] = [];
  const last = (): Shape => shapes.at(-1)!;
  const push = (shape: Shape, make: (input: number, output: number, name: string) => Step): void => {
    const output = shapes.push(shape) - 1;
    steps.push(make(output - 1, output, `step ${output}`));
  };
  return {
    shapes,
    steps,
    layers,
    linear(channels: number, kernel: number): void {
      const [inputs, size] = last();
      const weights = layers.length;
      layers.push({ weights: plainWords(ringBits, channels * inputs * kernel ** 2), bias: plainWords(ringBits, channels) });
      const geometry = sameConv(inputs, channels, size, kernel);
      push([channels, size, size], (input, output, name) => ({ kind: 'linear', name, input, output, geometry, weights }));
    },
    relu(patch: Patch, roundTrips: 1 | 2 = 2): void {
      const patches = new Array<Patch>(last()[0]).fill(patch);
      // As calibration leaves them: 12 bits of fraction to drop in a ring of 32, as many fewer in smaller rings.
      const truncateBits = Math.max(1, Math.min(12, ringBits - 20));
      const window = { low: truncateBits, high: Math.min(truncateBits + 15, ringBits - 1) };
      const below = window.high - window.low - 1;
      const comparison = { groups: [[below >> 1, below - (below >> 1)]], roundTrips };
      const chosen = roundTrips === 1 ? { comparison } : {};
      push(last(), (input, output, name) => ({ kind: 'relu', name, input, output, truncateBits, window, ...chosen, patches }));
    },
    maxpool(kernel: number): void {
      const [channels, size] = last();
      const geometry = squarePool(channels, size, kernel, 2);
      const window = { low: 0, high: Math.min(20, ringBits - 1) };
      push([channels, size / 2, size / 2], (input, output, name) => ({ kind: 'maxpool', name, input, output, geometry, window }));
    },
    truncate: (): void => push(last(), (input, output, name) => ({ kind: 'truncate', name, input, output, truncateBits: 8 })),
    /** The steps that send nothing. */
    local(): void {
      const shape = last();
      const axes = shape.map((size, axis) => ({ axis, start: 0, step: 1, size }));
      push(shape, (input, output, name) => ({ kind: 'view', name, input, output, inputShape: shape, axes }));
      push(shape, (input, output, name) => ({ kind: 'add', name, inputs: [input, input - 1], factors: [1, 1], output }));
      const positions = Array.from({ length: shape[2] }, (_, i) => [i, Math.max(0, i - 1)]).flat();
      const weights = positions.map(() => 1);
      push(shape, (input, output, name) => ({ kind: 'resample', name, input, output, axis: 2, taps: 2, positions, weights }));
      const both: Shape = [2 * shape[0], shape[1], shape[2]];
      push(both, (input, output, name) => ({ kind: 'concat', name, inputs: [input, input - 1], axis: 0, output }));
    },
    average(): void {
      const [channels, size] = last();
      const geometry = squarePool(channels, size, size, size);
      push([channels, 1, 1], (input, output, name) => ({ kind: 'sumpool', name, input, output, geometry }));
    },
  };
}

/** Steps of every kind, of 64 to 33,000 elements, as small networks have them, in a ring of that many bits. */
export async function sampleModel(ringBits: number): Promise<StoredModel> {
  const chain = createChain([16, 16, 16], ringBits);
  chain.linear(16, 3);
  chain.relu([1, 1]);
  chain.linear(64, 1);
  chain.relu([2, 2]);
  chain.local();
  chain.truncate();
  chain.maxpool(2);
  chain.linear(64, 3);
  chain.relu([4, 4]);
  chain.linear(64, 3);
  chain.relu([1, 1]);
  chain.linear(64, 1);
  chain.relu([1, 1], 1);
  chain.linear(64, 1);
  chain.relu([2, 2], 1);
  chain.maxpool(3);
  chain.linear(64, 3);
  chain.relu([0, 1]);
  chain.local();
  chain.truncate();
  chain.average();
  for (let i = 0; i < 3; i++) {
    chain.linear(64, 1);
    chain.relu([1, 1], i === 1 ? 1 : 2);
  }
  chain.linear(10, 1);
  return storedProgram(
    {
      schema: 'tessera/program@1',
      ringBits,
      tensors: chain.shapes.map((shape) => ({ shape, scale: 1 })),
      input: 0,
      output: chain.shapes.length - 1,
      outputActivation: 'none',
      steps: chain.steps,
    },
    chain.layers,
  );
}

/** A program that no compiler made, as parties are given models. */
export async function storedProgram(program: Program, layers: StoredModel['compiled']['weights']['layers'] = []): Promise<StoredModel> {
  const hash = await programHash(program);
  const range = { min: 0, max: 0 };
  const calibratedOn = { source: 'none', images: 0, extraMarginBits: 0 };
  const fractionBits = { activations: range, weights: range };
  return {
    compiled: { program, weights: { layers }, description: { name: 'sample' }, hash },
    summary: { hash, ringBits: program.ringBits, fractionBits, drelus: 0, comparisons: 0, clipped: 0, calibratedOn },
  };
}
