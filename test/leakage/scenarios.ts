// Small networks for the leakage tests: rings of 3 to 6 bits, one to three elements. For the server two pictures are compared, for the client
// two sets of weights that give its picture the same result by different ways.
import type { PoolGeometry } from '../../src/kernel/geometry.js';
import type { ComparisonChoice, Patch, Program, ProgramWeights, Step } from '../../src/model/program.js';
import { linearSteps, weightCount } from '../../src/party/weights.js';
import { noWeights, smallProgram } from '../protocol/harness.js';
import type { Secret } from './views.js';

export interface Scenario {
  readonly name: string;
  readonly program: Program;
  readonly server: readonly [Secret, Secret];
  readonly client?: readonly [Secret, Secret];
}

/** A step whose input is the tensor before it and whose output is the next one, with the shape of its output. */
type Make = (input: number, output: number) => readonly [Step, readonly number[]];

const dense =
  (from: number, to: number, weights: number, shape: readonly number[] = [to]): Make =>
  (input, output) => [
    {
      kind: 'linear',
      name: `dense${weights}`,
      input,
      output,
      weights,
      geometry: {
        inputChannels: from,
        inputHeight: 1,
        inputWidth: 1,
        outputChannels: to,
        outputHeight: 1,
        outputWidth: 1,
        kernelHeight: 1,
        kernelWidth: 1,
        strideY: 1,
        strideX: 1,
        dilationY: 1,
        dilationX: 1,
        padTop: 0,
        padLeft: 0,
        groups: 1,
      },
    },
    shape,
  ];

const truncate =
  (truncateBits: number, shape: readonly number[]): Make =>
  (input, output) => [{ kind: 'truncate', name: 'truncate', input, output, truncateBits }, shape];

interface ReluOptions {
  readonly f: number;
  readonly window: readonly [number, number];
  readonly comparison?: ComparisonChoice;
  readonly cap?: number;
  readonly patches?: readonly Patch[];
}

const relu =
  (shape: readonly number[], { f, window: [low, high], ...rest }: ReluOptions): Make =>
  (input, output) => [{ kind: 'relu', name: 'relu', input, output, truncateBits: f, window: { low, high }, ...rest }, shape];

const rowPool = (width: number, kernel: number, stride: number): PoolGeometry => ({
  channels: 1,
  inputHeight: 1,
  inputWidth: width,
  outputHeight: 1,
  outputWidth: Math.floor((width - kernel) / stride) + 1,
  kernelHeight: 1,
  kernelWidth: kernel,
  strideY: 1,
  strideX: stride,
  dilationY: 1,
  dilationX: 1,
  padTop: 0,
  padLeft: 0,
});

const maxpool =
  (width: number, kernel: number, stride: number, high: number, comparison?: ComparisonChoice): Make =>
  (input, output) => {
    const geometry = rowPool(width, kernel, stride);
    return [
      { kind: 'maxpool', name: 'pool', input, output, geometry, window: { low: 0, high }, ...(comparison && { comparison }) },
      [1, 1, geometry.outputWidth],
    ];
  };

/** One round trip, with digits of so many bits. */
const inOneTrip = (...digits: number[]): ComparisonChoice => ({ groups: [digits], roundTrips: 1 });

const weightsOf = (...layers: readonly (readonly number[] | readonly [readonly number[], readonly number[]])[]): ProgramWeights => ({
  layers: layers.map((layer) => {
    const [weights, bias] = Array.isArray(layer[0]) ? (layer as [number[], number[]]) : [layer as number[], undefined];
    return { weights: Int32Array.from(weights), bias: Int32Array.from(bias ?? [0]) };
  }),
});

function chain(shape: readonly number[], ringBits: number, makes: readonly Make[]): Program {
  const made = makes.map((make, i) => make(i, i + 1));
  return smallProgram(
    shape,
    made.map(([step]) => step),
    made.map(([, out]) => out),
    ringBits,
  );
}

const secret = (weights: ProgramWeights, ...pictures: number[][]): Secret => ({ weights, pictures });
const w = weightsOf;

/** Weights with a bias each: the layer's output is the bias plus W x. */
const layer = (weights: number[], bias: number[]): [number[], number[]] => [weights, bias];

const one = [1];

export const scenarios: readonly Scenario[] = [
  {
    name: 'linear',
    program: chain([2], 4, [dense(2, 1, 0)]),
    server: [secret(w([3, 1]), [1, 2]), secret(w([3, 1]), [-2, 1])],
    client: [secret(w([1, 2]), [1, 1]), secret(w([-1, 4]), [1, 1])],
  },
  {
    name: 'truncate, sealed',
    program: chain(one, 4, [dense(1, 1, 0), truncate(1, one)]),
    server: [secret(w([3]), [1]), secret(w([3]), [-1])],
    client: [secret(w(layer([1], [1])), [1]), secret(w(layer([3], [-1])), [1])],
  },
  {
    name: 'truncate, hidden',
    program: chain(one, 5, [dense(1, 1, 0), truncate(1, one), truncate(1, one), dense(1, 1, 1)]),
    server: [secret(w([3], [1]), [2]), secret(w([3], [1]), [-1])],
    client: [secret(w([4], [2]), [1]), secret(w(layer([-4], [0]), layer([3], [5])), [1])],
  },
  {
    name: 'relu, sealed',
    program: chain(one, 4, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 4] })]),
    server: [secret(w([1]), [3]), secret(w([1]), [-2])],
    client: [secret(w([-3]), [1]), secret(w([-2]), [1])],
  },
  {
    name: 'relu, every bit compared',
    program: chain(one, 4, [dense(1, 1, 0), relu(one, { f: 1, window: [0, 4] })]),
    server: [secret(w([1]), [3]), secret(w([1]), [-2])],
    client: [secret(w([-3]), [1]), secret(w([-1]), [1])],
  },
  {
    name: 'relu, hidden, without truncation',
    program: chain(one, 4, [dense(1, 2, 0), truncate(0, [2]), relu([2], { f: 0, window: [0, 4] })]),
    server: [secret(w(layer([1, -1], [0, 0])), [3]), secret(w(layer([1, -1], [0, 0])), [-2])],
    client: [secret(w(layer([-3, 2], [0, 0])), [1]), secret(w(layer([-1, 2], [0, 0])), [1])],
  },
  {
    name: 'relu, two digits',
    program: chain(one, 6, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 6] })]),
    server: [secret(w([1]), [11]), secret(w([1]), [-3])],
    client: [secret(w([-14]), [1]), secret(w([-3]), [1])],
  },
  {
    name: 'block relu',
    program: chain(one, 5, [dense(1, 2, 0, [1, 2, 1]), relu([1, 2, 1], { f: 1, window: [1, 5], patches: [[2, 1]] })]),
    server: [secret(w(layer([1, 2], [0, 0])), [2]), secret(w(layer([1, 2], [0, 0])), [-1])],
    client: [secret(w(layer([-5, 1], [0, 0])), [1]), secret(w(layer([-2, -6], [0, 0])), [1])],
  },
  {
    name: 'relu, identity and zero channels',
    program: chain(one, 4, [
      dense(1, 3, 0, [3, 1, 1]),
      relu([3, 1, 1], {
        f: 1,
        window: [1, 4],
        patches: [
          [1, 1],
          [0, 1],
          [1, 0],
        ],
      }),
    ]),
    server: [secret(w(layer([1, 1, 1], [0, 0, 0])), [3]), secret(w(layer([1, 1, 1], [0, 0, 0])), [-2])],
    client: [secret(w(layer([-3, 2, 1], [0, 0, 0])), [1]), secret(w(layer([-2, 2, -3], [0, 0, 0])), [1])],
  },
  {
    name: 'relu6',
    program: chain(one, 6, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 6], cap: 4 })]),
    server: [secret(w([1]), [11]), secret(w([1]), [-3])],
    client: [secret(w([12]), [1]), secret(w([7]), [1])],
  },
  {
    name: 'max pool with windows that overlap, sealed',
    program: chain(one, 4, [dense(1, 4, 0, [1, 1, 4]), maxpool(4, 3, 1, 4)]),
    server: [secret(w(layer([1, 0, -1, 0], [0, 0, 0, 0])), [1]), secret(w(layer([1, 0, -1, 0], [0, 0, 0, 0])), [-1])],
    client: [secret(w(layer([1, 0, 0, 1], [0, 0, 0, 0])), [1]), secret(w(layer([0, 1, 0, 1], [0, 0, 0, 0])), [1])],
  },
  {
    name: 'max pool of three candidates, hidden',
    program: chain(one, 4, [dense(1, 3, 0, [1, 1, 3]), truncate(0, [1, 1, 3]), maxpool(3, 3, 1, 4)]),
    server: [secret(w(layer([1, 0, -1], [0, 0, 0])), [1]), secret(w(layer([1, 0, -1], [0, 0, 0])), [-1])],
    client: [secret(w(layer([1, 0, -1], [0, 0, 0])), [1]), secret(w(layer([-1, 0, 1], [0, 0, 0])), [1])],
  },
  productScenario(),
  skipScenario(),
  {
    name: 'two layers',
    program: chain(one, 4, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 4] }), dense(1, 1, 1)]),
    server: [secret(w([1], [3]), [2]), secret(w([1], [3]), [-2])],
    client: [secret(w(layer([2], [0]), layer([2], [-1])), [1]), secret(w(layer([-2], [0]), layer([3], [1])), [1])],
  },
];

/** ReLUs in one round trip, in rings so small that a sign, its digits and its value are few bits together. */
export const direct: readonly Scenario[] = [
  {
    name: 'relu in one round trip, one digit',
    program: chain(one, 4, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 4], comparison: inOneTrip(2) })]),
    server: [secret(w([1]), [3]), secret(w([1]), [-2])],
    client: [secret(w([-3]), [1]), secret(w([-2]), [1])],
  },
  {
    name: 'relu in one round trip, two digits',
    program: chain(one, 4, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 4], comparison: inOneTrip(1, 1) })]),
    server: [secret(w([1]), [3]), secret(w([1]), [-2])],
    client: [secret(w([-3]), [1]), secret(w([-2]), [1])],
  },
];

/** The same in blocks, with a cap and in a max pool: too many words to search for each of their draws, which are those of the others. */
export const directWide: readonly Scenario[] = [
  {
    name: 'block relu in one round trip',
    program: chain(one, 5, [
      dense(1, 2, 0, [1, 2, 1]),
      relu([1, 2, 1], { f: 1, window: [1, 5], comparison: inOneTrip(1, 2), patches: [[2, 1]] }),
    ]),
    server: [secret(w(layer([1, 2], [0, 0])), [2]), secret(w(layer([1, 2], [0, 0])), [-1])],
    client: [secret(w(layer([-5, 1], [0, 0])), [1]), secret(w(layer([-2, -6], [0, 0])), [1])],
  },
  {
    name: 'relu6 in one round trip',
    program: chain(one, 6, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 6], comparison: inOneTrip(2, 2), cap: 4 })]),
    server: [secret(w([1]), [11]), secret(w([1]), [-3])],
    client: [secret(w([12]), [1]), secret(w([7]), [1])],
  },
  {
    name: 'max pool in one round trip each',
    program: chain(one, 4, [dense(1, 4, 0, [1, 1, 4]), maxpool(4, 3, 1, 4, inOneTrip(1, 2))]),
    server: [secret(w(layer([1, 0, -1, 0], [0, 0, 0, 0])), [1]), secret(w(layer([1, 0, -1, 0], [0, 0, 0, 0])), [-1])],
    client: [secret(w(layer([1, 0, 0, 1], [0, 0, 0, 0])), [1]), secret(w(layer([0, 1, 0, 1], [0, 0, 0, 0])), [1])],
  },
];

/** A square, and the product of two truncations of one value: its sign is in both factors and in neither result. */
function productScenario(): Scenario {
  const [linear] = dense(1, 1, 0)(0, 1);
  const steps: Step[] = [
    linear,
    ...[2, 3].map((output): Step => ({ kind: 'truncate', name: `truncate${output}`, input: 1, output, truncateBits: 0 })),
    { kind: 'product', name: 'square', inputs: [2, 2], output: 4 },
    { kind: 'product', name: 'product', inputs: [2, 3], output: 5 },
    { kind: 'add', name: 'sum', inputs: [4, 5], factors: [1, 1], output: 6 },
  ];
  return {
    name: 'a square and a product',
    program: smallProgram(one, steps, [one, one, one, one, one, one], 4),
    server: [secret(w([1]), [3]), secret(w([1]), [-2])],
    client: [secret(w([1]), [1]), secret(w([-1]), [1])],
  };
}

/** A sealed value, the hidden input scaled, joined, permuted and summed before it is opened. */
function skipScenario(): Scenario {
  const [linear, out] = dense(1, 1, 0, [1, 1, 1])(0, 1);
  const steps: Step[] = [
    linear,
    { kind: 'add', name: 'skip', inputs: [0, 1], factors: [2, 1], output: 2 },
    { kind: 'concat', name: 'join', inputs: [1, 2], axis: 2, output: 3 },
    {
      kind: 'view',
      name: 'flip',
      input: 3,
      output: 4,
      inputShape: [1, 1, 2],
      axes: [
        { axis: 0, start: 0, step: 1, size: 1 },
        { axis: 1, start: 0, step: 1, size: 1 },
        { axis: 2, start: 1, step: -1, size: 2 },
      ],
    },
    { kind: 'sumpool', name: 'sum', input: 4, output: 5, geometry: rowPool(2, 2, 1) },
    { kind: 'resample', name: 'resize', input: 5, output: 6, axis: 2, taps: 2, positions: [0, 0], weights: [2, -1] },
    { kind: 'add', name: 'both', inputs: [6, 1], factors: [1, -1], output: 7 },
    { kind: 'relu', name: 'relu', input: 7, output: 8, truncateBits: 0, window: { low: 0, high: 5 } },
  ];
  const shapes = [out, out, [1, 1, 2], [1, 1, 2], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]];
  return {
    name: 'skip connection, concatenation, view, sum and resizing',
    program: smallProgram([1, 1, 1], steps, shapes, 5),
    server: [secret(w([1]), [2]), secret(w([1]), [-1])],
    client: [secret(w([-4]), [1]), secret(w([-7]), [1])],
  };
}

/** The shortest window whose digits are combined in two levels. */
export const longWindow: Scenario = {
  name: 'relu with two levels of digits',
  program: chain(one, 13, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 13] })]),
  server: [secret(w([1]), [2]), secret(w([1]), [-1610])],
  client: [secret(w([-2]), [1]), secret(w([-1610]), [1])],
};

/** ReLU6 between values whose two signs agree and values whose signs differ. */
export const relu6Edges: Scenario = {
  name: 'relu6 at its edges',
  program: chain(one, 6, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 6], cap: 4 })]),
  server: [secret(w([1]), [11]), secret(w([1]), [3])],
  client: [secret(w([0]), [1]), secret(w([-3]), [1])],
};

/** A ring so small that the server's whole view of a ReLU fits into 21 bits, and most views have a twin. */
export const smallestRelu: Scenario = {
  name: 'relu on 3 bits',
  program: chain(one, 3, [relu(one, { f: 1, window: [1, 3] })]),
  server: [secret(noWeights, [1]), secret(noWeights, [-1])],
};

/** The same for a maximum of two. */
export const smallestPool: Scenario = {
  name: 'max pool on 3 bits',
  program: chain([1, 1, 2], 3, [maxpool(2, 2, 1, 2)]),
  server: [secret(noWeights, [1, 0]), secret(noWeights, [0, 0])],
};

/** Two inferences: for the server the second picture differs or not, for the client the weights differ where two pictures give zero. */
export const twice: Scenario = {
  name: 'two inferences',
  program: chain(one, 4, [dense(1, 1, 0), relu(one, { f: 1, window: [1, 4] })]),
  server: [secret(w([1]), [3], [3]), secret(w([1]), [3], [-2])],
  client: [secret(w([-3]), [1], [0]), secret(w([-2]), [1], [0])],
};

/** What the client holds of the weights, the same for both secrets: odd numbers, so that no picture drops out of its products. */
export const differenceOf = ({ program }: Scenario): Int32Array[] =>
  linearSteps(program).map((step, i) => Int32Array.from({ length: weightCount(step.geometry) }, (_, j) => 5 + 2 * i + 4 * j));
