// Files that are no consistent model, and ops that cannot run: each a DataError that names the place.
import { describe, expect, it } from 'vitest';
import { floats, longs, onnxBytes, type TestModel } from '../../test/model/onnx.js';
import { DataError } from '../errors.js';
import { inspectModel } from './inspect.js';
import { readGraph, readModel } from './onnx.js';
import { decodeModel, encodeModel } from './protobuf.js';

const relu = { op: 'Relu', inputs: ['x'], outputs: ['y'] };
const small: TestModel = {
  input: ['N', 1, 4, 4],
  constants: { w: floats([2, 1, 3, 3], new Float32Array(18).fill(0.5)) },
  nodes: [
    { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'], name: 'first' },
    { op: 'Relu', inputs: ['a'], outputs: ['y'] },
  ],
};

function refusal(bytes: Uint8Array): DataError {
  try {
    readGraph(bytes);
  } catch (error) {
    if (error instanceof DataError) return error;
    throw error;
  }
  throw new Error('was read');
}

const code = (model: TestModel): string => refusal(onnxBytes(model)).code;

describe('reading ONNX', () => {
  it('refuses every truncation of a file', () => {
    const bytes = onnxBytes(small);
    for (let length = 0; length < bytes.length; length++)
      expect(refusal(bytes.subarray(0, length)), `${length} bytes`).toBeInstanceOf(DataError);
  });

  it('refuses noise without an error of another kind', () => {
    const bytes = onnxBytes(small);
    for (let seed = 1; seed < 500; seed++) {
      const broken = bytes.slice();
      for (let i = 0; i < 3; i++) broken[(seed * 7919 + i * 104729) % bytes.length] = (seed * 31 + i * 17) & 255;
      try {
        readGraph(broken);
      } catch (error) {
        expect(error, `seed ${seed}`).toBeInstanceOf(DataError);
      }
    }
  });

  it('names a missing tensor, a cycle, a tensor made twice', () => {
    const missing = refusal(onnxBytes({ ...small, nodes: [{ op: 'Conv', inputs: ['x', 'nosuch'], outputs: ['y'], name: 'lost' }] }));
    expect(missing).toMatchObject({ code: 'missing-tensor', where: 'lost', exitStatus: 3 });
    const cycle: TestModel = {
      ...small,
      nodes: [
        { op: 'Add', inputs: ['x', 'b'], outputs: ['a'] },
        { op: 'Relu', inputs: ['a'], outputs: ['b'] },
      ],
    };
    expect(code(cycle)).toBe('cyclic-graph');
    expect(code({ ...small, nodes: [relu, relu] })).toBe('bad-model');
  });

  it('refuses shapes that do not fit', () => {
    const conv = (dims: number[], attributes = {}): TestModel => ({
      ...small,
      constants: { w: floats(dims, new Float32Array(dims.reduce((a, b) => a * b, 1))) },
      nodes: [{ op: 'Conv', inputs: ['x', 'w'], outputs: ['y'], attributes }],
    });
    expect(code(conv([2, 3, 3, 3]))).toBe('bad-shape');
    expect(code(conv([2, 1, 7, 7]))).toBe('bad-shape');
    expect(code(conv([2, 1, 3, 3], { kernel_shape: [5, 5] }))).toBe('bad-shape');
    expect(code(conv([2, 1, 3, 3], { strides: [0, 1] }))).toBe('bad-node');
    expect(code({ ...small, constants: { w: { ...floats([2, 1, 3, 3], new Float32Array(17)) } } })).toBe('bad-tensor');
    expect(code({ ...small, nodes: [{ op: 'Reshape', inputs: ['x', 's'], outputs: ['y'] }], constants: { s: longs([1, 7]) } })).toBe(
      'bad-shape',
    );
  });

  it('refuses huge dimensions before anything of that size exists', () => {
    const before = process.memoryUsage().arrayBuffers;
    expect(code({ ...small, input: ['N', 2 ** 20, 2 ** 20, 4] })).toBe('too-large');
    expect(code({ ...small, constants: { w: floats([2 ** 31, 2 ** 31, 2 ** 20], []) } })).toBe('too-large');
    expect(code({ ...small, constants: { w: floats([-1, 1, 3, 3], []) } })).toBe('bad-shape');
    const filled: TestModel = {
      ...small,
      constants: { s: longs([2 ** 40]) },
      nodes: [
        { op: 'ConstantOfShape', inputs: ['s'], outputs: ['c'] },
        { op: 'Add', inputs: ['x', 'c'], outputs: ['y'] },
      ],
    };
    expect(code(filled)).toBe('too-large');
    const padded: TestModel = {
      ...small,
      constants: { p: longs([0, 0, 2 ** 30, 0, 0, 0, 2 ** 30, 0]) },
      nodes: [{ op: 'Pad', inputs: ['x', 'p'], outputs: ['y'] }],
    };
    expect(code(padded)).toBe('too-large');
    const wide: TestModel = {
      ...small,
      nodes: [{ op: 'Conv', inputs: ['x', 'w'], outputs: ['y'], attributes: { pads: [2 ** 20, 2 ** 20, 2 ** 20, 2 ** 20] } }],
    };
    expect(code(wide)).toBe('too-large');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20);
  });

  it('wants one picture in, one vector out, and a batch that may be 1', () => {
    expect(code({ ...small, input: [8, 1, 4, 4] })).toBe('bad-input');
    expect(code({ ...small, input: ['N', 1, 'H', 'W'] })).toBe('open-shape');
    expect(readGraph(onnxBytes({ ...small, input: ['N', 1, 'H', 'W'] }), { inputShape: [1, 6, 5] }).nodes[1]!.shape).toEqual([2, 4, 3]);
    expect(readGraph(onnxBytes({ ...small, input: [1, 1, 4, 4] })).input.shape).toEqual([1, 4, 4]);
    expect(code({ ...small, opset: 5 })).toBe('bad-opset');
  });

  it('names layers by their node, or by their first output', () => {
    const { layers } = inspectModel(readModel(onnxBytes(small)));
    expect(layers).toEqual([
      { name: 'first', kind: 'conv', shape: [2, 2, 2], channels: 2, drelus: 0, comparisons: 0 },
      { name: 'y', kind: 'relu', shape: [2, 2, 2], channels: 2, drelus: 8, comparisons: 8 },
    ]);
  });

  it('lists what is unsupported, each with its node, op and reason', () => {
    const model: TestModel = {
      input: ['N', 4],
      nodes: [
        { op: 'LSTM', inputs: ['x'], outputs: ['a'], name: 'memory' },
        { op: 'Relu', inputs: ['a'], outputs: ['b'] },
        { op: 'MatMul', inputs: ['x', 'x'], outputs: ['c'], name: 'attention' },
        { op: 'Add', inputs: ['b', 'c'], outputs: ['y'] },
      ],
    };
    const { supported, unsupported } = inspectModel(readModel(onnxBytes(model)));
    expect(supported).toBe(false);
    expect(unsupported.map((u) => [u.node, u.op])).toEqual([
      ['memory', 'LSTM'],
      ['attention', 'MatMul'],
    ]);
    expect(refusal(onnxBytes(model))).toMatchObject({ code: 'unsupported-op', where: 'memory', exitStatus: 3 });
  });

  it('reads external data by its callback, and says when it is cut short', () => {
    const model = decodeModel(onnxBytes(small));
    const tensor = model.graph!.initializer[0]!;
    const data = tensor.rawData!.slice();
    delete tensor.rawData;
    tensor.dataLocation = 1;
    tensor.externalData = [
      { key: 'location', value: 'weights.bin' },
      { key: 'offset', value: '8' },
      { key: 'length', value: String(data.length) },
    ];
    const bytes = encodeModel(model);
    const graph = readGraph(bytes, {
      externalData(location, offset, length) {
        expect([location, offset, length]).toEqual(['weights.bin', 8, 72]);
        return data;
      },
    });
    expect(graph.nodes[0]).toMatchObject({ kind: 'conv', weights: new Float32Array(18).fill(0.5) });
    expect(refusal(bytes).code).toBe('missing-tensor');
    expect(() => readGraph(bytes, { externalData: () => data.subarray(4) })).toThrow(DataError);
  });
});
