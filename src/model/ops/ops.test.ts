// Every op against onnxruntime-node: in float to 1e-4, and as a fixed-point program within what truncation allows.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floats, longs, noise, noiseArray, onnxBytes, reference, type TestModel } from '../../../test/model/onnx.js';
import type { Compute } from '../../kernel/compute.js';
import { createNodeCompute } from '../../kernel/pool.node.js';
import { decodeFixed, encodeFixed } from '../../ring/fixed.js';
import { compileGraph } from '../compile.js';
import { forward } from '../forward.js';
import { sizeOf } from '../graph.js';
import { readGraph } from '../onnx.js';
import { resizeOutput } from '../output.js';
import { simulate } from '../simulate.js';

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ inline: true });
});
afterAll(() => compute.close());

const batch = 3;

const greatest = (values: ArrayLike<number>): number => Array.from(values).reduce((m, v) => Math.max(m, Math.abs(v)), 0);

/** Where what is truncated on the way may be much larger than what comes out: one per cent of the greatest value on the way. */
const wide = 'of the greatest value on the way';
type Tolerance = number | typeof wide;

/** Reads, runs and compiles a model and holds all three to onnxruntime. `x` per picture has the model's declared shape. */
async function agrees(model: TestModel, seed: number, fixedTolerance: Tolerance = 0.01): Promise<void> {
  const bytes = onnxBytes(model);
  const graph = readGraph(bytes);
  const shape = model.input.slice(1) as number[];
  const count = model.input[0] === 1 ? 1 : batch;
  const x = noiseArray(count * sizeOf(shape), seed, 2);
  const expected = await reference(bytes, x, [count, ...shape]);
  const tolerance = greatest(expected) + 1e-3;
  const y = await forward(compute, graph, x, count);
  expect(y.length).toBe(expected.length);
  expect(greatest(y.map((v, i) => v - expected[i]!))).toBeLessThan(1e-4 * tolerance);
  const { program, weights, report } = await compileGraph(compute, graph, { images: x, count });
  const words = encodeFixed(x, program.tensors[program.input]!.scale, program.ringBits);
  const simulated = await simulate(compute, program, weights, words, count, { random: () => (random() + 1) / 2 });
  expect(simulated.overflow.every((o) => o.range === 0 && o.window === 0)).toBe(true);
  const activate = program.outputActivation !== 'none';
  if (activate) return;
  const onTheWay = [...report.ranges.values.values()].reduce((most, { maximum }) => Math.max(most, maximum), 0);
  const limit = fixedTolerance === wide ? 0.01 * onTheWay : fixedTolerance * tolerance;
  const decoded = resizeOutput(program, decodeFixed(simulated.output, program.tensors[program.output]!.scale));
  expect(greatest(decoded.map((v, i) => v - expected[i]!))).toBeLessThan(limit);
}

const random = noise(7);

const seeds = fc.integer({ min: 1, max: 1e6 });
const small = (max: number) => fc.integer({ min: 1, max });

function property<T>(
  arbitrary: fc.Arbitrary<T>,
  model: (value: T, seed: number) => TestModel,
  numRuns = 20,
  fixedTolerance: Tolerance = 0.01,
): () => Promise<void> {
  return async () => {
    await fc.assert(
      fc.asyncProperty(arbitrary, seeds, (value, seed) => agrees(model(value, seed), seed, fixedTolerance)),
      { numRuns },
    );
  };
}

/** One node on [N, ...shape] with constants. */
function single(
  op: string,
  shape: readonly number[],
  attributes: TestModel['nodes'][0]['attributes'] = {},
  constants: TestModel['constants'] = {},
  opset = 13,
): TestModel {
  return {
    opset,
    input: ['N', ...shape],
    constants,
    nodes: [{ op, inputs: ['x', ...Object.keys(constants)], outputs: ['y'], attributes }],
  };
}

const axis = fc.record({
  kernel: small(4),
  stride: small(3),
  dilation: small(2),
  begin: fc.integer({ min: 0, max: 2 }),
  end: fc.integer({ min: 0, max: 2 }),
  extra: fc.integer({ min: 0, max: 6 }),
});
type Axis = { kernel: number; stride: number; dilation: number; begin: number; end: number; extra: number };
const map = fc.record({ channels: small(4), y: axis, x: axis });
const reach = (a: Axis): number => (a.kernel - 1) * a.dilation + 1;
const sized = (m: { channels: number; y: Axis; x: Axis }): number[] => [m.channels, reach(m.y) + m.y.extra, reach(m.x) + m.x.extra];
const windows = (m: { y: Axis; x: Axis }, dilations = true) => ({
  kernel_shape: [m.y.kernel, m.x.kernel],
  strides: [m.y.stride, m.x.stride],
  ...(dilations && { dilations: [m.y.dilation, m.x.dilation] }),
});
/** Pads of a pool are smaller than its kernel. */
const poolPads = (m: { y: Axis; x: Axis }): number[] =>
  [m.y, m.x].flatMap((a) => [Math.min(a.begin, a.kernel - 1)]).concat([m.y, m.x].map((a) => Math.min(a.end, a.kernel - 1)));

describe('linear layers', () => {
  const conv = fc.record({
    map,
    groups: small(3),
    outputs: small(3),
    auto: fc.constantFrom('NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'),
    bias: fc.boolean(),
  });
  it(
    'Conv: strides, pads, dilations, groups, auto_pad',
    property(
      conv,
      ({ map: m, groups, outputs, auto, bias }, seed) => {
        const shape = sized(m);
        shape[0]! *= groups;
        const dims = [outputs * groups, m.channels, m.y.kernel, m.x.kernel];
        const pads = auto === 'NOTSET' ? { pads: [m.y.begin, m.x.begin, m.y.end, m.x.end] } : { auto_pad: auto };
        // onnxruntime refuses SAME with dilations.
        const w = windows(m, !auto.startsWith('SAME'));
        const constants = {
          w: floats(dims, noiseArray(sizeOf(dims), seed)),
          ...(bias && { b: floats([dims[0]!], noiseArray(dims[0]!, seed + 1)) }),
        };
        return single('Conv', shape, { group: groups, ...w, ...pads }, constants);
      },
      40,
    ),
  );
  it(
    'ConvTranspose: strides, pads, dilations, groups, output_padding, auto_pad',
    property(
      fc.record({
        map,
        groups: small(2),
        outputs: small(3),
        auto: fc.constantFrom('NOTSET', 'NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'),
      }),
      ({ map: m, groups, outputs, auto }, seed) => {
        const shape = [m.channels * groups, 1 + m.y.extra, 1 + m.x.extra];
        const dims = [shape[0]!, outputs, m.y.kernel, m.x.kernel];
        // What is cut must leave something, and SAME needs kernels that reach over their stride.
        const sides = [m.y, m.x].map((a) => Math.min(a.begin, Math.floor((a.stride * a.extra + reach(a) - 1) / 2)));
        const same = auto.startsWith('SAME') && [m.y, m.x].every((a) => reach(a) >= a.stride);
        const pads = same ? { auto_pad: auto } : auto === 'VALID' ? { auto_pad: auto } : { pads: [...sides, ...sides] };
        const outputPadding = [m.y, m.x].map((a) => Math.min(a.end, a.stride - 1));
        const constants = {
          w: floats(dims, noiseArray(sizeOf(dims), seed)),
          b: floats([outputs * groups], noiseArray(outputs * groups, seed + 1)),
        };
        const attributes = { group: groups, ...windows(m), ...pads, ...(!same && { output_padding: outputPadding }) };
        return single('ConvTranspose', shape, attributes, constants);
      },
      40,
    ),
  );
  const resizing = fc
    .record({
      channels: small(3),
      height: small(6),
      width: small(6),
      rows: small(13),
      columns: small(13),
      mode: fc.constantFrom('nearest', 'linear', 'cubic'),
      coordinates: fc.constantFrom('half_pixel', 'pytorch_half_pixel', 'align_corners', 'asymmetric'),
      nearest: fc.constantFrom('round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'),
      by: fc.constantFrom('sizes', 'scales'),
      exclude: fc.boolean(),
    })
    .filter((c) => c.height !== c.rows || c.width !== c.columns);
  it(
    'Resize: every mode and coordinate convention, by sizes and by scales',
    property(
      resizing,
      (c) => {
        const { by, mode, coordinates, nearest } = c;
        const scales = [1, 1, c.rows / c.height, c.columns / c.width];
        const constants = {
          roi: floats([0], new Float32Array(0)),
          scales: by === 'scales' ? floats([4], Float32Array.from(scales)) : floats([0], new Float32Array(0)),
          ...(by === 'sizes' && { sizes: longs([1, c.channels, c.rows, c.columns]) }),
        };
        const attributes = {
          mode,
          coordinate_transformation_mode: coordinates,
          ...(mode === 'nearest' && { nearest_mode: nearest }),
          ...(mode === 'cubic' && { exclude_outside: Number(c.exclude) }),
        };
        return { ...single('Resize', [c.channels, c.height, c.width], attributes, constants), input: [1, c.channels, c.height, c.width] };
      },
      60,
      // Weights that are no multiples of 1/256 are rounded to them, along both axes.
      0.02,
    ),
  );
  it(
    'Upsample and Resize as older opsets have them',
    property(
      fc.record({
        height: small(5),
        width: small(5),
        up: fc.integer({ min: 2, max: 4 }),
        mode: fc.constantFrom('nearest', 'linear'),
        opset: fc.constantFrom(9, 10),
      }),
      (c) =>
        single(
          c.opset === 9 ? 'Upsample' : 'Resize',
          [2, c.height, c.width],
          { mode: c.mode },
          { scales: floats([4], Float32Array.of(1, 1, c.up, c.up)) },
          c.opset,
        ),
    ),
  );
  it(
    'Mul of two values, also where one broadcasts; a square with what it is of',
    property(
      fc.record({ channels: small(3), size: small(5), kind: fc.constantFrom('two', 'channel', 'quadratic', 'minus') }),
      (c, seed) => {
        const weights = [c.channels, c.channels, 1, 1];
        const constants = {
          w: floats(weights, noiseArray(sizeOf(weights), seed)),
          a: floats(
            [1, c.channels, 1, 1],
            noiseArray(c.channels, seed + 1).map((v) => v + (v < 0 ? -0.5 : 0.5)),
          ),
          b: floats([], Float32Array.of(0.7)),
          c: floats([1], Float32Array.of(-0.3)),
        };
        const conv = { op: 'Conv', inputs: ['x', 'w'], outputs: ['v'] };
        const pool = { op: 'GlobalAveragePool', inputs: ['v'], outputs: ['g'] };
        const quadratic = [
          { op: 'Mul', inputs: ['v', 'v'], outputs: ['s'] },
          { op: 'Mul', inputs: ['s', 'a'], outputs: ['as'] },
          { op: 'Mul', inputs: ['v', 'b'], outputs: ['bv'] },
          { op: c.kind === 'minus' ? 'Sub' : 'Add', inputs: ['bv', 'as'], outputs: ['sum'] },
          { op: 'Add', inputs: ['sum', 'c'], outputs: ['q'] },
          { op: 'Conv', inputs: ['q', 'w'], outputs: ['y'] },
        ];
        const nodes =
          c.kind === 'two'
            ? [conv, { op: 'Mul', inputs: ['v', 'x'], outputs: ['y'] }]
            : c.kind === 'channel'
              ? [conv, pool, { op: 'Mul', inputs: ['v', 'g'], outputs: ['y'] }]
              : [conv, ...quadratic];
        return { opset: 13, input: ['N', c.channels, c.size, c.size], constants, nodes };
      },
    ),
  );
  it(
    'Resize between convolutions and beside a skip',
    property(
      fc.record({ size: small(4), factor: small(3), mode: fc.constantFrom('nearest', 'linear') }),
      ({ size, factor, mode }, seed) => ({
        opset: 13,
        input: ['N', 2, size, size * 2],
        constants: {
          w: floats([3, 2, 3, 3], noiseArray(54, seed)),
          v: floats([2, 5, 1, 1], noiseArray(10, seed + 1)),
          roi: floats([0], new Float32Array(0)),
          scales: floats([4], Float32Array.of(1, 1, factor, factor)),
        },
        nodes: [
          { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'], attributes: { pads: [1, 1, 1, 1] } },
          { op: 'Relu', inputs: ['a'], outputs: ['r'] },
          { op: 'Resize', inputs: ['r', 'roi', 'scales'], outputs: ['up'], attributes: { mode } },
          { op: 'Resize', inputs: ['x', 'roi', 'scales'], outputs: ['wide'], attributes: { mode } },
          { op: 'Concat', inputs: ['up', 'wide'], outputs: ['both'], attributes: { axis: 1 } },
          { op: 'Conv', inputs: ['both', 'v'], outputs: ['y'] },
        ],
      }),
    ),
  );
  it(
    'DepthToSpace and SpaceToDepth: both orders',
    property(
      fc.record({ channels: small(3), size: small(3), height: small(4), width: small(4), op: fc.constantFrom('DCR', 'CRD', 'space') }),
      (c) => {
        if (c.op === 'space') return single('SpaceToDepth', [c.channels, c.height * c.size, c.width * c.size], { blocksize: c.size });
        return single('DepthToSpace', [c.channels * c.size ** 2, c.height, c.width], { blocksize: c.size, mode: c.op });
      },
    ),
  );
  it(
    'Gemm: transB, alpha, beta, bias of any shape',
    property(
      fc.record({ inputs: small(20), outputs: small(9), transB: fc.boolean(), bias: fc.constantFrom('none', 'row', 'matrix', 'scalar') }),
      (c, seed) => {
        const dims = c.transB ? [c.outputs, c.inputs] : [c.inputs, c.outputs];
        const biasDims = { none: [], row: [c.outputs], matrix: [1, c.outputs], scalar: [] }[c.bias];
        const constants = {
          w: floats(dims, noiseArray(c.inputs * c.outputs, seed)),
          ...(c.bias !== 'none' && { b: floats(biasDims, noiseArray(sizeOf(biasDims), seed + 1)) }),
        };
        return single('Gemm', [c.inputs], { transB: Number(c.transB), alpha: 0.75, beta: 1.5 }, constants);
      },
    ),
  );
  it(
    'MatMul with a constant, of vectors and of rows',
    property(fc.record({ rows: fc.array(small(4), { maxLength: 2 }), inputs: small(9), outputs: small(9) }), (c, seed) =>
      single('MatMul', [...c.rows, c.inputs], {}, { w: floats([c.inputs, c.outputs], noiseArray(c.inputs * c.outputs, seed)) }),
    ),
  );
});

describe('arithmetic', () => {
  const layouts = fc.record({
    channels: small(4),
    height: small(5),
    width: small(5),
    kind: fc.constantFrom('channel', 'element', 'scalar', 'row'),
  });
  const constantOf = (
    { channels, height, width, kind }: { channels: number; height: number; width: number; kind: string },
    seed: number,
  ) => {
    const dims = { channel: [channels, 1, 1], element: [1, channels, height, width], scalar: [], row: [width] }[kind]!;
    return floats(
      dims,
      noiseArray(sizeOf(dims), seed).map((v) => v + (v < 0 ? -0.5 : 0.5)),
    );
  };
  for (const op of ['Add', 'Sub', 'Mul', 'Div']) {
    it(
      `${op} with a constant`,
      property(layouts, (c, seed) => single(op, [c.channels, c.height, c.width], {}, { c: constantOf(c, seed) })),
    );
  }
  for (const op of ['Add', 'Sub', 'Mul']) {
    it(
      `${op} with the constant first, before and after a convolution`,
      property(layouts, (c, seed) => {
        const w = floats([2, c.channels, 1, 1], noiseArray(2 * c.channels, seed));
        return {
          input: ['N', c.channels, c.height, c.width],
          constants: { c: constantOf(c, seed), w, d: floats([2, 1, 1], noiseArray(2, seed + 2)) },
          nodes: [
            { op, inputs: ['c', 'x'], outputs: ['a'] },
            { op: 'Conv', inputs: ['a', 'w'], outputs: ['b'] },
            { op, inputs: ['d', 'b'], outputs: ['y'] },
          ],
        };
      }),
    );
  }
  for (const op of ['Add', 'Sub']) {
    it(
      `${op} of two values, broadcast`,
      property(layouts, (c, seed) => ({
        input: ['N', c.channels, c.height, c.width],
        constants: { w: floats([c.channels, c.channels, 1, 1], noiseArray(c.channels ** 2, seed)) },
        nodes: [
          { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'] },
          { op: 'GlobalAveragePool', inputs: ['a'], outputs: ['b'] },
          { op, inputs: ['a', 'x'], outputs: ['c'] },
          { op, inputs: ['b', 'c'], outputs: ['y'] },
        ],
      })),
    );
  }
  it(
    'BatchNormalization alone, after a convolution, and before one with and without pads',
    property(
      fc.record({
        channels: small(4),
        size: fc.integer({ min: 3, max: 6 }),
        place: fc.constantFrom('alone', 'after', 'before', 'padded', 'pooled'),
      }),
      (c, seed) => {
        const constants = Object.fromEntries(
          ['s', 'b', 'm', 'v'].map((name, i) => [
            name,
            floats(
              [c.channels],
              noiseArray(c.channels, seed + i).map((v) => (name === 'v' ? Math.abs(v) + 0.1 : v)),
            ),
          ]),
        );
        const norm = (input: string, output: string) => ({
          op: 'BatchNormalization',
          inputs: [input, 's', 'b', 'm', 'v'],
          outputs: [output],
          attributes: { epsilon: 1e-3 },
        });
        const conv = (input: string, output: string, pad = 0) => ({
          op: 'Conv',
          inputs: [input, 'w'],
          outputs: [output],
          attributes: { pads: [pad, pad, pad, pad] },
        });
        const nodes = {
          alone: [norm('x', 'y')],
          after: [conv('x', 'a'), norm('a', 'y')],
          before: [norm('x', 'a'), conv('a', 'y')],
          padded: [norm('x', 'a'), conv('a', 'y', 1)],
          pooled: [
            norm('x', 'a'),
            { op: 'AveragePool', inputs: ['a'], outputs: ['p'], attributes: { kernel_shape: [2, 2] } },
            conv('p', 'y', 1),
          ],
        }[c.place]!;
        return {
          input: ['N', c.channels, c.size, c.size],
          constants: { ...constants, w: floats([c.channels, c.channels, 2, 2], noiseArray(4 * c.channels ** 2, seed)) },
          nodes,
        };
      },
      40,
    ),
  );
});

describe('activations', () => {
  const shape = fc.tuple(small(4), small(6), small(6));
  /** The activation between two convolutions (joined by the second where it can be), and at the output. */
  const between = (
    op: string,
    attributes: TestModel['nodes'][0]['attributes'],
    constants: (shape: readonly number[], seed: number) => TestModel['constants'] = () => ({}),
    opset = 13,
    fixedTolerance: Tolerance = 0.01,
  ) =>
    property(
      fc.record({ shape, last: fc.constantFrom('conv', 'depthwise', 'dense', 'none') }),
      ({ shape: s, last }, seed) => {
        const extra = constants(s, seed) ?? {};
        const size = sizeOf(s);
        const nodes: TestModel['nodes'][number][] = [
          { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'], attributes: { pads: [1, 1, 1, 1] } },
          { op, inputs: ['a', ...Object.keys(extra)], outputs: ['r'], ...(attributes && { attributes }) },
        ];
        if (last === 'conv') nodes.push({ op: 'Conv', inputs: ['r', 'v'], outputs: ['y'] });
        if (last === 'depthwise') nodes.push({ op: 'Conv', inputs: ['r', 'd'], outputs: ['y'], attributes: { group: s[0] } });
        if (last === 'dense')
          nodes.push({ op: 'Flatten', inputs: ['r'], outputs: ['f'] }, { op: 'Gemm', inputs: ['f', 'g', 'h'], outputs: ['y'] });
        const [c] = s;
        return {
          opset,
          input: ['N', ...s],
          constants: {
            ...extra,
            w: floats([c, c, 3, 3], noiseArray(9 * c * c, seed)),
            v: floats([2, c, 1, 1], noiseArray(2 * c, seed + 1)),
            d: floats([c, 1, 1, 1], noiseArray(c, seed + 2)),
            g: floats([size, 3], noiseArray(3 * size, seed + 3)),
            h: floats([3], noiseArray(3, seed + 4)),
          },
          nodes,
        };
      },
      20,
      fixedTolerance,
    );
  it('Relu', between('Relu', {}));
  it(
    'Clip as ReLU6, opset 13',
    between('Clip', {}, () => ({ min: floats([], [0]), max: floats([], [1.5]) })),
  );
  it('Clip as ReLU6, opset 7', between('Clip', { min: 0, max: 2 }, undefined, 7));
  for (const [low, high] of [
    [-1, 1],
    [0.25, 2],
    [-0.5, undefined],
    [undefined, 1],
  ] as const) {
    it(
      `Clip from ${low ?? 'anywhere'} to ${high ?? 'anywhere'}`,
      between('Clip', { ...(low !== undefined && { min: low }), ...(high !== undefined && { max: high }) }, undefined, 7, wide),
    );
  }
  it('HardSigmoid', between('HardSigmoid', { alpha: 1 / 6 }, undefined, 13, wide));
  it('HardSwish', between('HardSwish', {}, undefined, 14, wide));
  it('Abs', between('Abs', {}, undefined, 13, wide));
  it('Neg', between('Neg', {}));
  it(
    'Max with a number',
    between('Max', {}, () => ({ limit: floats([], [-0.5]) }), 13, wide),
  );
  it(
    'Min with a number',
    between('Min', {}, () => ({ limit: floats([1], [0.5]) }), 13, wide),
  );
  for (const op of ['Max', 'Min', 'Sum']) {
    it(
      `${op} of two values, one of which broadcasts`,
      property(
        shape,
        ([c, h, w], seed) => ({
          input: ['N', c, h, w],
          constants: { w: floats([c, c, 1, 1], noiseArray(c * c, seed)) },
          nodes: [
            { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'] },
            { op: 'GlobalAveragePool', inputs: ['a'], outputs: ['b'] },
            { op, inputs: seed % 2 === 0 ? ['a', 'b'] : ['b', 'x'], outputs: ['y'] },
          ],
        }),
        20,
        wide,
      ),
    );
  }
  it('LeakyRelu', between('LeakyRelu', { alpha: 0.125 }));
  it(
    'PRelu, a slope a channel',
    between('PRelu', {}, (s, seed) => ({ slope: floats([s[0]!, 1, 1], noiseArray(s[0]!, seed + 9)) })),
  );
  it(
    'PRelu, one slope',
    between('PRelu', {}, (_, seed) => ({ slope: floats([1], noiseArray(1, seed + 9)) })),
  );
  it(
    'PRelu, a slope an element',
    between('PRelu', {}, (s, seed) => ({ slope: floats(s, noiseArray(sizeOf(s), seed + 9)) })),
  );
  for (const op of ['Softmax', 'LogSoftmax']) {
    it(
      `${op} at the output`,
      property(small(9), (n, seed) => ({
        input: ['N', n],
        constants: { w: floats([n, n], noiseArray(n * n, seed)) },
        nodes: [
          { op: 'Gemm', inputs: ['x', 'w'], outputs: ['a'] },
          { op, inputs: ['a'], outputs: ['y'] },
        ],
      })),
    );
  }
});

describe('pools', () => {
  const options = fc.record({ map, ceil: fc.integer({ min: 0, max: 1 }), pads: fc.boolean(), same: fc.boolean() });
  type Options = { map: { y: Axis; x: Axis }; pads: boolean; same: boolean };
  // onnxruntime takes SAME with a stride above the kernel for negative padding.
  const isSame = ({ map: m, same }: Options): boolean => same && m.y.stride <= m.y.kernel && m.x.stride <= m.x.kernel;
  const padsOf = (c: Options) => (isSame(c) ? { auto_pad: 'SAME_UPPER' } : c.pads ? { pads: poolPads(c.map) } : {});
  it(
    'MaxPool: pads, ceil_mode, dilations, auto_pad',
    property(
      options,
      (c) => single('MaxPool', sized(c.map), { ...windows(c.map, !isSame(c)), ...padsOf(c), ceil_mode: isSame(c) ? 0 : c.ceil }),
      40,
    ),
  );
  for (const include of [0, 1]) {
    it(
      `AveragePool, count_include_pad ${include}`,
      property(
        options,
        (c) =>
          single(
            'AveragePool',
            sized(c.map),
            { ...windows(c.map, false), ...padsOf(c), ceil_mode: isSame(c) ? 0 : c.ceil, count_include_pad: include },
            {},
            21,
          ),
        40,
      ),
    );
  }
  const shape = fc.tuple(small(4), small(7), small(7));
  it(
    'GlobalAveragePool',
    property(shape, (s) => single('GlobalAveragePool', s)),
  );
  it(
    'GlobalMaxPool',
    property(shape, (s) => single('GlobalMaxPool', s)),
  );
  it(
    'ReduceMean over space, attribute',
    property(fc.record({ s: shape, keep: fc.integer({ min: 0, max: 1 }) }), ({ s, keep }) =>
      single('ReduceMean', s, { axes: [2, 3], keepdims: keep }),
    ),
  );
  it(
    'ReduceMean over space, input',
    property(fc.record({ s: shape, keep: fc.integer({ min: 0, max: 1 }) }), ({ s, keep }) =>
      single('ReduceMean', s, { keepdims: keep }, { axes: longs([-2, -1]) }, 18),
    ),
  );
  for (const op of ['ReduceMean', 'ReduceSum']) {
    it(
      `${op} over neighbouring axes`,
      property(
        fc.record({ s: shape, axes: fc.constantFrom([1], [2], [-1], [1, 2], [2, 3], [1, 2, 3]), keep: fc.integer({ min: 0, max: 1 }) }),
        ({ s, axes, keep }) =>
          op === 'ReduceMean' ? single(op, s, { axes, keepdims: keep }) : single(op, s, { keepdims: keep }, { axes: longs(axes) }),
        20,
        wide,
      ),
    );
  }
  it(
    'means by odd divisors meet in a sum and in a join',
    property(fc.tuple(small(3), fc.integer({ min: 3, max: 6 })), ([c, size], seed) => ({
      input: ['N', c, size, size],
      constants: { w: floats([2, 2 * c, 1, 1], noiseArray(4 * c, seed)) },
      nodes: [
        {
          op: 'AveragePool',
          inputs: ['x'],
          outputs: ['m'],
          attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1], count_include_pad: seed % 2 },
        },
        { op: 'Add', inputs: ['m', 'x'], outputs: ['s'] },
        { op: 'Concat', inputs: ['s', 'm'], outputs: ['j'], attributes: { axis: 1 } },
        { op: 'Conv', inputs: ['j', 'w'], outputs: ['y'] },
      ],
    })),
  );
  it(
    'MaxPool after Relu moves before it',
    property(fc.tuple(small(3), fc.integer({ min: 2, max: 8 })), ([c, size], seed) => ({
      input: ['N', c, size, size],
      constants: { w: floats([c, c, 1, 1], noiseArray(c * c, seed)) },
      nodes: [
        { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'] },
        { op: 'Relu', inputs: ['a'], outputs: ['r'] },
        { op: 'MaxPool', inputs: ['r'], outputs: ['p'], attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
        { op: 'Conv', inputs: ['p', 'w'], outputs: ['y'] },
      ],
    })),
  );
});

describe('moves', () => {
  const shape = fc.tuple(small(4), small(6), small(6));
  /** A move between two convolution-like layers would hide it; here it stands between the input and a ReLU. */
  const moved = (node: TestModel['nodes'][0], s: readonly number[], constants: TestModel['constants'] = {}, opset = 13): TestModel => ({
    opset,
    input: ['N', ...s],
    constants,
    nodes: [node, { op: 'Relu', inputs: ['m'], outputs: ['y'] }],
  });
  it(
    'Flatten, Reshape, Squeeze, Unsqueeze',
    property(shape, ([c, h, w]) => ({
      input: ['N', c, h, w],
      constants: { s1: longs([0, -1, h]), a: longs([1]), s2: longs([-1, c * h * w]) },
      nodes: [
        { op: 'Reshape', inputs: ['x', 's1'], outputs: ['r'] },
        { op: 'Unsqueeze', inputs: ['r', 'a'], outputs: ['u'] },
        { op: 'Squeeze', inputs: ['u', 'a'], outputs: ['q'] },
        { op: 'Reshape', inputs: ['q', 's2'], outputs: ['z'] },
        { op: 'Flatten', inputs: ['z'], outputs: ['f'], attributes: { axis: 1 } },
        { op: 'Relu', inputs: ['f'], outputs: ['y'] },
      ],
    })),
  );
  it(
    'Reshape by shape arithmetic',
    property(shape, ([c, h, w]) => ({
      input: ['N', c, h, w],
      constants: { zero: longs([0], []), minus: longs([-1]), a: longs([0]) },
      nodes: [
        { op: 'Shape', inputs: ['x'], outputs: ['s'] },
        { op: 'Gather', inputs: ['s', 'zero'], outputs: ['n'], attributes: { axis: 0 } },
        { op: 'Unsqueeze', inputs: ['n', 'a'], outputs: ['n1'] },
        { op: 'Concat', inputs: ['n1', 'minus'], outputs: ['t'], attributes: { axis: 0 } },
        { op: 'Reshape', inputs: ['x', 't'], outputs: ['m'] },
        { op: 'Relu', inputs: ['m'], outputs: ['y'] },
      ],
    })),
  );
  it(
    'Transpose',
    property(fc.record({ s: shape, order: fc.shuffledSubarray([1, 2, 3], { minLength: 3, maxLength: 3 }) }), ({ s, order }) =>
      moved({ op: 'Transpose', inputs: ['x'], outputs: ['m'], attributes: { perm: [0, ...order] } }, s),
    ),
  );
  it(
    'channel shuffle: Reshape, Transpose, Reshape',
    property(fc.tuple(small(3), small(3), small(4)), ([g, c, s], seed) => ({
      input: ['N', g * c, s, s],
      constants: {
        s1: longs([0, g, c, s, s]),
        s2: longs([0, g * c, s, s]),
        w: floats([g * c, g * c, 1, 1], noiseArray((g * c) ** 2, seed)),
      },
      nodes: [
        { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'] },
        { op: 'Reshape', inputs: ['a', 's1'], outputs: ['b'] },
        { op: 'Transpose', inputs: ['b'], outputs: ['c'], attributes: { perm: [0, 2, 1, 3, 4] } },
        { op: 'Reshape', inputs: ['c', 's2'], outputs: ['d'] },
        { op: 'Conv', inputs: ['d', 'w'], outputs: ['y'] },
      ],
    })),
  );
  const slice = fc.record({
    s: shape,
    starts: fc.tuple(fc.integer({ min: -6, max: 5 }), fc.integer({ min: -6, max: 5 })),
    steps: fc.tuple(fc.constantFrom(1, 2, 3, -1, -2), fc.constantFrom(1, 2, -1)),
  });
  it(
    'Slice, steps of either sign',
    property(slice, ({ s, starts, steps }) => {
      const first = [s[1], s[2]].map((d, i) => Math.min(Math.max(starts[i]!, -d), d - 1));
      const ends = steps.map((step) => (step > 0 ? 2 ** 40 : -(2 ** 40)));
      return moved({ op: 'Slice', inputs: ['x', 'b', 'e', 'a', 't'], outputs: ['m'] }, s, {
        b: longs(first),
        e: longs(ends),
        a: longs([2, 3]),
        t: longs([...steps]),
      });
    }),
  );
  it(
    'Slice, opset 9',
    property(shape, (s) =>
      moved({ op: 'Slice', inputs: ['x'], outputs: ['m'], attributes: { starts: [0, 0], ends: [1, 1000], axes: [1, 3] } }, s, {}, 9),
    ),
  );
  it(
    'Pad, opset 13 and 9, and into a convolution',
    property(fc.record({ s: shape, p: fc.tuple(small(2), small(2), small(3)), opset: fc.constantFrom(9, 13) }), ({ s, p, opset }, seed) => {
      const pads = [0, p[0] - 1, p[1], 0, 0, 0, p[2], 1];
      const pad =
        opset === 9
          ? { op: 'Pad', inputs: ['x'], outputs: ['m'], attributes: { pads } }
          : { op: 'Pad', inputs: ['x', 'p'], outputs: ['m'] };
      const base = moved(pad, s, opset === 9 ? {} : { p: longs(pads) }, opset);
      if (seed % 2 === 0) return base;
      const channels = s[0] + p[0] - 1;
      return {
        ...base,
        constants: { ...base.constants, w: floats([2, channels, 2, 2], noiseArray(8 * channels, seed)) },
        nodes: [pad, { op: 'Conv', inputs: ['m', 'w'], outputs: ['y'] }],
      };
    }),
  );
  it(
    'Split and Concat in another order',
    property(fc.record({ s: shape, axis: fc.integer({ min: 1, max: 3 }) }), ({ s, axis: a }) => {
      const doubled = s.map((d, i) => (i === a - 1 ? 3 * d : d));
      const d = s[a - 1]!;
      return {
        input: ['N', ...doubled],
        constants: { sizes: longs([d, 2 * d]) },
        nodes: [
          { op: 'Split', inputs: ['x', 'sizes'], outputs: ['p', 'q'], attributes: { axis: a } },
          { op: 'Relu', inputs: ['p'], outputs: ['r'] },
          { op: 'Concat', inputs: ['q', 'r', 'p'], outputs: ['m'], attributes: { axis: a } },
          { op: 'Relu', inputs: ['m'], outputs: ['y'] },
        ],
      };
    }),
  );
  it(
    'Concat with zeros before, between and behind values',
    property(fc.record({ s: shape, axis: fc.integer({ min: 1, max: 3 }), places: fc.tuple(small(2), small(2), small(2)) }), (c) => {
      const zeros = (length: number) => {
        const dims = [1, ...c.s].map((d, i) => (i === c.axis ? length : d));
        return floats(dims, new Float32Array(sizeOf(dims)));
      };
      return {
        input: [1, ...c.s],
        constants: { a: zeros(c.places[0]), b: zeros(c.places[1]), c: zeros(c.places[2]) },
        nodes: [
          { op: 'Relu', inputs: ['x'], outputs: ['r'] },
          { op: 'Concat', inputs: ['a', 'x', 'b', 'r', 'c', 'a'], outputs: ['m'], attributes: { axis: c.axis } },
          { op: 'Relu', inputs: ['m'], outputs: ['y'] },
        ],
      };
    }),
  );
  it(
    'Expand of a pooled map',
    property(shape, (s) => ({
      input: ['N', ...s],
      constants: { size: longs([1, 1, s[1], s[2]]) },
      nodes: [
        { op: 'GlobalAveragePool', inputs: ['x'], outputs: ['p'] },
        { op: 'Expand', inputs: ['p', 'size'], outputs: ['e'] },
        { op: 'Add', inputs: ['e', 'x'], outputs: ['y'] },
      ],
    })),
  );
  it(
    'sizes halved from a shape are whole numbers, as in C',
    property(fc.tuple(small(9), small(4)), ([c, size]) => ({
      input: ['N', c + 1, size, size],
      constants: { one: longs([1], []), two: longs([2]), zero: longs([0]), axis: longs([1]) },
      nodes: [
        { op: 'Shape', inputs: ['x'], outputs: ['s'] },
        { op: 'Gather', inputs: ['s', 'one'], outputs: ['c'] },
        { op: 'Div', inputs: ['c', 'two'], outputs: ['h'] },
        { op: 'Slice', inputs: ['x', 'zero', 'h', 'axis'], outputs: ['m'] },
        { op: 'Relu', inputs: ['m'], outputs: ['y'] },
      ],
    })),
  );
  it(
    'Identity, Dropout, Constant, Cast',
    property(shape, (s) => ({
      input: ['N', ...s],
      nodes: [
        { op: 'Identity', inputs: ['x'], outputs: ['i'] },
        { op: 'Dropout', inputs: ['i'], outputs: ['d'] },
        { op: 'Cast', inputs: ['d'], outputs: ['k'], attributes: { to: 1 } },
        { op: 'Constant', inputs: [], outputs: ['c'], attributes: { value: floats([], [0.5]) } },
        { op: 'Add', inputs: ['k', 'c'], outputs: ['m'] },
        { op: 'Relu', inputs: ['m'], outputs: ['y'] },
      ],
    })),
  );
});
