// Whether a program's steps fit together: ids, sizes, states, windows. Every party checks it before it allocates anything.
import { DataError } from '../errors.js';
import type { ConvGeometry, PoolGeometry } from '../kernel/geometry.js';
import { kernelLimit } from '../kernel/tiling.js';
import type { MaxPoolStep, Patch, Program, ReluStep, ResampleStep, Step, SumPoolStep, TensorId, ViewStep } from './program.js';
import { factorLimit, stepInputs } from './program.js';

/** Elements of one tensor, and of all tensors together; ImageNet networks have below 2^21 and 2^25. */
const maxTensor = 2 ** 26;
const maxTotal = 2 ** 29;

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

function fail(step: string, reason: string): never {
  throw new DataError(`program, step ${step}: ${reason}`, {
    code: 'bad-program',
    where: step,
    hint: 'compile the model again with this version',
  });
}

/** Throws DataError, with the step's name, where a program (already of the right shape, program-schema.ts) is not consistent. */
export function checkProgram(program: Program): void {
  const { tensors } = program;
  const total = tensors.reduce((sum, t) => sum + size(t.shape), 0);
  if (tensors.some((t) => size(t.shape) > maxTensor) || !(total <= maxTotal)) fail('tensors', `${total} elements are too many`);
  const made = new Map<TensorId, 'hidden' | 'sealed'>([[program.input, 'hidden']]);
  const weights = new Set<number>();
  if (tensors[program.input] === undefined) fail('input', 'no such tensor');
  for (const step of program.steps) {
    const inputs = stepInputs(step);
    for (const id of inputs) if (!made.has(id)) fail(step.name, `reads tensor ${id} before it is made`);
    if (tensors[step.output] === undefined || made.has(step.output))
      fail(step.name, `makes tensor ${step.output}, which is unknown or made already`);
    const states = inputs.map((id) => made.get(id)!);
    if (step.kind === 'linear') {
      if (states[0] !== 'hidden') fail(step.name, 'a linear layer reads a hidden value');
      if (weights.has(step.weights)) fail(step.name, `weights ${step.weights} are used twice`);
      weights.add(step.weights);
    }
    if (step.kind === 'product' && states.includes('sealed')) fail(step.name, 'a product reads hidden values');
    checkStep(program, step);
    made.set(step.output, stateAfter(step, states));
  }
  if (!made.has(program.output)) fail('output', 'is not made by any step');
  checkOutputResamples(program);
  for (const index of weights) if (index >= weights.size) fail('weights', `index ${index} of ${weights.size} layers`);
}

function stateAfter(step: Step, states: readonly ('hidden' | 'sealed')[]): 'hidden' | 'sealed' {
  if (step.kind === 'linear') return 'sealed';
  if (step.kind === 'relu' || step.kind === 'truncate') return 'hidden';
  return states.includes('sealed') ? 'sealed' : 'hidden';
}

function checkStep(program: Program, step: Step): void {
  const shape = (id: TensorId): readonly number[] => program.tensors[id]!.shape;
  const same = (id: TensorId): void => {
    if (shape(id).join() !== shape(step.output).join())
      fail(step.name, `shape [${shape(id).join(', ')}] becomes [${shape(step.output).join(', ')}]`);
  };
  switch (step.kind) {
    case 'linear':
      checkConvolution(step.name, step.geometry, size(shape(step.input)), size(shape(step.output)));
      return;
    case 'relu':
      same(step.input);
      checkTruncation(step.name, step.truncateBits, program.ringBits);
      checkWindow(step, program.ringBits);
      checkRelu(step, shape(step.output), program.ringBits);
      return;
    case 'truncate':
      same(step.input);
      checkTruncation(step.name, step.truncateBits, program.ringBits);
      return;
    case 'maxpool':
      checkPool(step, shape(step.input), shape(step.output));
      checkWindow(step, program.ringBits);
      return;
    case 'sumpool': {
      checkPool(step, shape(step.input), shape(step.output));
      const map = step.geometry.outputHeight * step.geometry.outputWidth;
      if (step.multipliers !== undefined && step.multipliers.length !== map)
        fail(step.name, `${step.multipliers.length} multipliers for ${map} positions`);
      return;
    }
    case 'resample':
      checkResample(step, shape(step.input), shape(step.output));
      return;
    case 'add':
      step.inputs.forEach(same);
      if (step.factors.length !== step.inputs.length) fail(step.name, `${step.factors.length} factors for ${step.inputs.length} inputs`);
      if (step.factors.some((factor) => Math.abs(factor) >= factorLimit(program.ringBits))) fail(step.name, 'a factor is too large');
      return;
    case 'product':
      step.inputs.forEach(same);
      return;
    case 'concat': {
      const shapes = step.inputs.map(shape);
      const whole = shape(step.output);
      const along = shapes.reduce((sum, s) => sum + (s[step.axis] ?? 0), 0);
      const fits = shapes.every((s) => s.length === whole.length && s.every((d, i) => i === step.axis || d === whole[i]));
      if (!fits || along !== whole[step.axis]) fail(step.name, 'shapes do not join');
      return;
    }
    case 'view':
      checkView(step, size(shape(step.input)), size(shape(step.output)));
      return;
  }
}

function checkResample(step: ResampleStep, input: readonly number[], output: readonly number[]): void {
  const { axis, taps, positions, weights } = step;
  const fits = input.length === output.length && axis < input.length && input.every((d, i) => i === axis || d === output[i]);
  if (!fits) fail(step.name, `shape [${input.join(', ')}] becomes [${output.join(', ')}] along axis ${axis}`);
  if (positions.length !== output[axis]! * taps || weights.length !== positions.length)
    fail(step.name, `${positions.length} positions and ${weights.length} weights for ${output[axis]} outputs of ${taps} taps`);
  if (positions.some((p) => p >= input[axis]!)) fail(step.name, `a position outside an axis of ${input[axis]}`);
}

/** What the client makes of the output; it allocates that much. */
function checkOutputResamples({ tensors, output, outputResamples = [] }: Program): void {
  const shape = [...tensors[output]!.shape];
  for (const { axis, taps, positions, weights } of outputResamples) {
    const length = shape[axis];
    if (length === undefined || positions.length % taps !== 0 || weights.length !== positions.length)
      fail('output', `${positions.length} positions and ${weights.length} weights of ${taps} taps along axis ${axis}`);
    if (positions.some((p) => p >= length)) fail('output', `a position outside an axis of ${length}`);
    shape[axis] = positions.length / taps;
    if (size(shape) > maxTensor) fail('output', `${size(shape)} elements are too many`);
  }
}

type Axis = readonly [input: number, output: number, kernel: number, stride: number, dilation: number, pad: number];

const axesOf = (g: ConvGeometry | PoolGeometry): readonly Axis[] => [
  [g.inputHeight, g.outputHeight, g.kernelHeight, g.strideY, g.dilationY, g.padTop],
  [g.inputWidth, g.outputWidth, g.kernelWidth, g.strideX, g.dilationX, g.padLeft],
];

/** Windows may hang over a map's edge by less than the map and the window together; kernels rely on nothing beyond that. */
function checkWindows(name: string, g: ConvGeometry | PoolGeometry): void {
  for (const [input, output, kernel, stride, dilation, pad] of axesOf(g)) {
    const extent = (kernel - 1) * dilation + 1;
    const last = (output - 1) * stride - pad;
    if (extent > 2 ** 24 || pad < 0 || pad > input + extent || last > input + extent) fail(name, 'windows lie outside the map');
  }
}

function checkConvolution(name: string, g: ConvGeometry, input: number, output: number): void {
  checkWindows(name, g);
  const weights = (g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups;
  if (g.inputChannels % g.groups !== 0 || g.outputChannels % g.groups !== 0) fail(name, `${g.groups} groups do not divide the channels`);
  if (!(weights <= maxTensor * 4)) fail(name, `${weights} weights are too many`);
  if (g.inputChannels * g.inputHeight * g.inputWidth !== input) fail(name, 'its geometry does not fit its input');
  if (g.outputChannels * g.outputHeight * g.outputWidth !== output) fail(name, 'its geometry does not fit its output');
  checkKernel(name, g);
}

function checkKernel(name: string, geometry: ConvGeometry | PoolGeometry): void {
  const limit = kernelLimit(geometry);
  if (limit !== undefined) fail(name, limit);
}

function checkPool({ kind, name, geometry: g }: MaxPoolStep | SumPoolStep, input: readonly number[], output: readonly number[]): void {
  checkWindows(name, g);
  if (g.channels * g.inputHeight * g.inputWidth !== size(input)) fail(name, 'its geometry does not fit its input');
  if (g.channels * g.outputHeight * g.outputWidth !== size(output)) fail(name, 'its geometry does not fit its output');
  if (g.kernelHeight * g.kernelWidth > maxTensor) fail(name, 'its kernel is too large');
  if (kind === 'sumpool') checkKernel(name, g);
  for (const [length, outputs, kernel, stride, dilation, pad] of axesOf(g)) {
    for (const o of [0, outputs - 1]) {
      const first = o * stride - pad;
      const inside =
        first >= 0
          ? first < length
          : first + Math.ceil(-first / dilation) * dilation < Math.min(length, first + (kernel - 1) * dilation + 1);
      if (!inside) fail(name, 'a window has no position in the map');
    }
  }
}

function checkTruncation(name: string, bits: number, ringBits: number): void {
  if (bits > ringBits - 3) fail(name, `truncates ${bits} of ${ringBits} bits`);
}

function checkWindow({ name, window, comparison }: ReluStep | MaxPoolStep, ringBits: number): void {
  if (window.low + 2 > window.high || window.high > ringBits)
    fail(name, `window [${window.low}, ${window.high}) in a ring of ${ringBits} bits`);
  if (comparison === undefined) return;
  const digits = comparison.groups.flat();
  const below = window.high - window.low - 1;
  if (size(digits.map((g) => 2 ** g)) !== 2 ** below) fail(name, `digits of ${digits.join(' + ')} bits for ${below} bits`);
  if (comparison.roundTrips === 1 && (comparison.groups.length > 1 || digits.length > 2))
    fail(name, `${digits.length} digits in one round trip, which has at most two`);
}

function checkRelu(step: ReluStep, shape: readonly number[], ringBits: number): void {
  if (step.cap !== undefined && (step.cap % 2 ** step.truncateBits !== 0 || step.cap >= 2 ** (ringBits - 2)))
    fail(step.name, `cap ${step.cap}`);
  if (step.patches === undefined) return;
  const [channels, height = 1, width = 1] = shape;
  if (step.patches.length !== channels) fail(step.name, `${step.patches.length} patches for ${channels} channels`);
  for (const patch of step.patches)
    if (!isPatch(patch, height, width)) fail(step.name, `patch [${patch.join(', ')}] on a map of ${height} × ${width}`);
}

/** [0, 1], [1, 0], or a block that fits the map. */
function isPatch([h, w]: Patch, height: number, width: number): boolean {
  if (h === 0 || w === 0) return h + w === 1;
  return h <= height && w <= width;
}

function checkView(step: ViewStep, input: number, output: number): void {
  const { axes, inputShape } = step;
  const used = new Set(axes.map((a) => a.axis));
  if (axes.length !== inputShape.length || used.size !== axes.length || axes.some((a) => a.axis >= inputShape.length))
    fail(step.name, 'its axes are not those of its input');
  if (size(inputShape) !== input || size(axes.map((a) => a.size)) !== output) fail(step.name, 'it does not fit its tensors');
  if (axes.some((a) => Math.abs(a.start + a.step * (a.size - 1)) > 2 ** 30)) fail(step.name, 'it reads far outside its input');
}
