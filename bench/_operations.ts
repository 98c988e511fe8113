// The operations that are measured one by one, each as a program of one step, and what of a run's bytes is the step's own.

import type { StoredModel } from '../src/cli/model-folder.js';
import { sameConv, squarePool, storedProgram } from '../src/cli/sample-model.js';
import type { ConvGeometry } from '../src/kernel/geometry.js';
import type { Patch, Program, Step } from '../src/model/program.js';
import { onWire } from '../src/protocol/control.js';
import { costEnvironment } from '../src/protocol/estimate.js';
import type { RunPhase } from '../src/protocol/operation.js';
import { operationOf, type Suite } from '../src/protocol/suite.js';
import { plainWords } from '../src/ring/words.js';

export interface Operation {
  readonly name: string;
  readonly model: StoredModel;
  /** Absent for operations of a fixed shape. */
  readonly elements?: number;
  readonly shape?: string;
  /** Signs that are found; 0 for a convolution. */
  readonly comparisons: number;
}

/** Maps of 40 × 25: a thousand elements a channel. */
const [mapHeight, mapWidth] = [40, 25];

interface Activation {
  readonly name: string;
  /** Absent: an element shares its sign with none, which costs no lists of who shares with whom. */
  readonly patch?: Patch;
  /** Bits of the window; default all from the point where truncation cuts to two below the top. */
  readonly windowBits?: number;
}

/** In a ring of 32 bits, ResNet-20's windows have 13 to 16 bits. */
const activations = (ringBits: number): readonly Activation[] => [
  { name: 'ReLU' },
  ...(ringBits === 32
    ? ([
        { name: 'ReLU, 13-bit window', windowBits: 13 },
        { name: 'ReLU, 16-bit window', windowBits: 16 },
      ] as const)
    : []),
  ...(ringBits >= 32 ? [{ name: 'ReLU, every bit', windowBits: ringBits }] : []),
  { name: 'block ReLU 2×2', patch: [2, 2] },
  { name: 'block ReLU 4×4', patch: [4, 4] },
];

/** Bits that a ReLU cuts off: about a third of the ring. */
const truncationOf = (ringBits: number): number => Math.min(12, Math.floor(ringBits / 3));

/** One activation on 1000 × channels elements, all of whose scale is cut off: outputs are 0 or 1 for values from -1 to 1. */
async function activation({ name, patch, windowBits }: Activation, elements: number, ringBits: number): Promise<Operation> {
  const shape = [Math.ceil(elements / (mapHeight * mapWidth)), mapHeight, mapWidth];
  const truncateBits = truncationOf(ringBits);
  const low = windowBits === ringBits ? 0 : truncateBits;
  const window = { low, high: windowBits === undefined ? ringBits - 2 : low + windowBits };
  const patches = patch && new Array<Patch>(shape[0]!).fill(patch);
  const step: Step = { kind: 'relu', name: 'relu', input: 0, output: 1, truncateBits, window, ...(patches && { patches }) };
  const [height, width] = patch ?? [1, 1];
  const blocks = shape[0]! * Math.ceil(mapHeight / height) * Math.ceil(mapWidth / width);
  const scales: [number, number] = [2 ** truncateBits, 1];
  return { name, elements, comparisons: blocks, model: await storedProgram(oneStep(step, shape, shape, ringBits, scales)) };
}

function oneStep(
  step: Step,
  input: readonly number[],
  output: readonly number[],
  ringBits: number,
  scales: readonly [number, number],
): Program {
  return {
    schema: 'tessera/program@1',
    ringBits,
    tensors: [
      { shape: input, scale: scales[0] },
      { shape: output, scale: scales[1] },
    ],
    input: 0,
    output: 1,
    outputActivation: 'none',
    steps: [step],
  };
}

/** 3 × 3 with stride 2 on 64 maps of 112 × 112, as at the start of a ResNet-50. */
async function pooling(ringBits: number): Promise<Operation> {
  const geometry = squarePool(64, 112, 3, 2);
  const window = { low: 0, high: ringBits - 2 };
  const step: Step = { kind: 'maxpool', name: 'maxpool', input: 0, output: 1, geometry, window };
  const program = oneStep(step, [64, 112, 112], [64, 56, 56], ringBits, [16, 16]);
  return { name: 'MaxPool 3×3/2', shape: '64×112×112', comparisons: 64 * 56 * 56 * 8, model: await storedProgram(program) };
}

/** 3 × 3 from 64 to 64 maps of 56 × 56, as inside a ResNet-50. */
async function convolution(ringBits: number): Promise<Operation> {
  const geometry: ConvGeometry = sameConv(64, 64, 56, 3);
  const step: Step = { kind: 'linear', name: 'conv', input: 0, output: 1, geometry, weights: 0 };
  const program = oneStep(step, [64, 56, 56], [64, 56, 56], ringBits, [16, 16]);
  const layer = { weights: plainWords(ringBits, 64 * 64 * 9), bias: plainWords(ringBits, 64) };
  return { name: 'convolution 3×3, 64→64', shape: '64×56×56', comparisons: 0, model: await storedProgram(program, [layer]) };
}

/** All operations in a ring, activations of each size. */
export async function operations(ringBits: number, sizes: readonly number[]): Promise<readonly Operation[]> {
  const sized = sizes.flatMap((elements) => activations(ringBits).map((each) => activation(each, elements, ringBits)));
  return Promise.all([...sized, pooling(ringBits), convolution(ringBits)]);
}

/** Bytes of the one step's messages, labels included, without the masked input and output that any program has. */
export function stepBytes({ model }: Operation, suite: Suite, phase: RunPhase): number {
  const { program } = model.compiled;
  const step = program.steps[0]!;
  const messages = operationOf(suite, step).messages(step, costEnvironment(program, 1));
  return messages.filter((m) => m.phase === phase).reduce((sum, m) => sum + onWire(m), 0);
}
