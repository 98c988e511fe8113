// Models that are damaged or made to do harm, as the library meets them: nothing but a TesseraError, in bounded memory.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TesseraError } from '../../src/errors.js';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { compileGraph } from '../../src/model/compile.js';
import { decodeProgram, encodeProgram } from '../../src/model/files.js';
import { inspectModel } from '../../src/model/inspect.js';
import { readModel } from '../../src/model/onnx.js';
import { decodeModel, encodeModel, type OnnxModel } from '../../src/model/protobuf.js';
import { floats, integers, network, node, values } from '../networks.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true, maxBytes: 2 ** 28 });
});
afterAll(() => compute.close());

/** A network with an op of most kinds. */
const whole = network({
  shape: [2, 8, 8],
  nodes: [
    node('Conv', ['x', 'w1', 'b1'], 'conv', { kernel_shape: [3, 3], pads: [1, 1, 1, 1], group: 1 }),
    node('BatchNormalization', ['conv', 's', 's', 's', 'one'], 'norm', { epsilon: { float: 1e-5 } }),
    node('Relu', ['norm'], 'relu'),
    node('MaxPool', ['relu'], 'max', { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 }),
    node('Pad', ['max', 'pads'], 'padded'),
    node('Slice', ['padded', 'starts', 'ends', 'axes', 'steps'], 'slice'),
    node('Conv', ['slice', 'w2'], 'depth', { kernel_shape: [1, 1], group: 4 }),
    node('Clip', ['depth', 'low', 'high'], 'six'),
    node('Concat', ['six', 'slice'], 'both', { axis: 1 }),
    node('LeakyRelu', ['both'], 'leaky', { alpha: { float: 0.1 } }),
    node('AveragePool', ['leaky'], 'average', { kernel_shape: [2, 2], strides: [1, 1], auto_pad: 'SAME_UPPER' }),
    node('Transpose', ['average'], 'turned', { perm: [0, 2, 3, 1] }),
    node('Reshape', ['turned', 'flat'], 'flattened'),
    node('Gemm', ['flattened', 'w3', 'b3'], 'dense', { transB: 1, alpha: { float: 0.5 } }),
    node('Mul', ['dense', 'k'], 'scaled'),
    node('Softmax', ['scaled'], 'out', { axis: 1 }),
  ],
  tensors: [
    floats('w1', [4, 2, 3, 3]),
    floats('b1', [4]),
    floats('s', [4], Float32Array.of(0.5, 1, 0.25, 2)),
    floats('one', [4], new Float32Array(4).fill(1)),
    integers('pads', [0, 0, 1, 1, 0, 0, 1, 1]),
    integers('starts', [0, 0]),
    integers('ends', [6, 100]),
    integers('axes', [2, 3]),
    integers('steps', [1, 2]),
    floats('w2', [4, 1, 1, 1]),
    floats('low', [], Float32Array.of(0)),
    floats('high', [], Float32Array.of(6)),
    integers('flat', [1, -1]),
    floats('w3', [3, 144]),
    floats('b3', [3]),
    floats('k', [], Float32Array.of(3)),
  ],
});

/** Reads, inspects and compiles. Returns whether it could; throws what is no TesseraError. */
async function use(bytes: Uint8Array): Promise<boolean> {
  const before = compute.memory.usedBytes;
  try {
    const read = readModel(bytes);
    inspectModel(read);
    if (read.graph === undefined) return false;
    const size = read.graph.input.shape.reduce((a, b) => a * b, 1);
    if (size > 1 << 16) return false;
    const { program } = await compileGraph(compute, read.graph, { images: values(size * 2, 1), count: 2 });
    await decodeProgram(await encodeProgram(program));
    return true;
  } catch (error) {
    if (error instanceof TesseraError && [2, 3].includes(error.exitStatus)) return false;
    throw error;
  } finally {
    expect(compute.memory.usedBytes).toBe(before);
  }
}

const runs = { numRuns: Number(process.env.TESSERA_FUZZ_RUNS ?? 200) };
/** Property tests find these by themselves only once in a long while. */
const awkward = fc.constantFrom(0, 1, 0x7f, 0x80, 0xff);

describe('a damaged ONNX file', () => {
  it('is read when it is whole', async () => {
    expect(await use(whole)).toBe(true);
  });

  it('with bytes changed, taken out or doubled is read or refused', async () => {
    const change = fc.record({
      at: fc.nat(whole.length - 1),
      kind: fc.constantFrom('set', 'set', 'flip', 'cut', 'double'),
      byte: fc.oneof(awkward, fc.nat(255)),
      length: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        let bytes = Buffer.from(whole);
        for (const { at, kind, byte, length } of changes) {
          const from = at % Math.max(1, bytes.length);
          if (kind === 'set') bytes[from] = byte;
          else if (kind === 'flip') bytes[from]! ^= 1 << (byte % 8);
          else if (kind === 'cut') bytes = Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
          else bytes = Buffer.concat([bytes.subarray(0, from + length), bytes.subarray(from)]);
        }
        await use(bytes);
      }),
      runs,
    );
  });

  it('whose numbers, names and ops make no sense together is read or refused', async () => {
    const number = fc.oneof(
      fc.constantFrom(0, -1, 1, 2, 3, 7, 2 ** 20, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, -(2 ** 53) + 1),
      fc.integer({ min: -9, max: 9 }),
    );
    const change = fc.record({
      kind: fc.constantFrom('attribute', 'attribute', 'dims', 'data', 'input', 'op', 'drop', 'shape', 'float'),
      a: fc.nat(1000),
      b: fc.nat(1000),
      number,
      float: fc.oneof(fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0, -1, 1e38, 1e-38), fc.float()),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const model = decodeModel(whole);
        for (const c of changes) distort(model, c);
        await use(encodeModel(model));
      }),
      runs,
    );
  });
});

interface Change {
  readonly kind: string;
  readonly a: number;
  readonly b: number;
  readonly number: number;
  readonly float: number;
}

function distort(model: OnnxModel, { kind, a, b, number, float }: Change): void {
  const graph = model.graph!;
  const pick = <T>(items: readonly T[], index: number): T | undefined => items[index % Math.max(1, items.length)];
  const one = pick(graph.node, a)!;
  const tensor = pick(graph.initializer, a)!;
  const attribute = pick(one.attribute, b);
  if (kind === 'attribute' && attribute !== undefined) {
    if (attribute.ints.length > 0) attribute.ints[b % attribute.ints.length] = number;
    else if (attribute.i !== undefined) attribute.i = number;
    else attribute.f = float;
  } else if (kind === 'dims') tensor.dims[b % Math.max(1, tensor.dims.length)] = number;
  else if (kind === 'data' && tensor.int64Data.length > 0) tensor.int64Data[b % tensor.int64Data.length] = number;
  else if (kind === 'float' && tensor.rawData !== undefined) {
    const data = tensor.rawData.slice();
    new DataView(data.buffer).setFloat32(4 * (b % (data.length / 4)), float, true);
    tensor.rawData = data;
  } else if (kind === 'input') one.input[b % one.input.length] = pick(graph.node, b)!.output[0]!;
  else if (kind === 'op') one.opType = pick(graph.node, b)!.opType!;
  else if (kind === 'drop') graph.node.splice(a % graph.node.length, 1);
  else if (kind === 'shape') {
    const { dim } = graph.input[0]!.type!.tensorType!.shape!;
    dim[b % dim.length] = { value: number };
  }
  if (graph.node.length === 0) graph.node.push(one);
}
