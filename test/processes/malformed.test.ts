// What cannot be used, given to the command: status 3, one reason that names the place, and memory that does not depend on what a file claims.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readOnnx } from '../../src/cli/model.js';
import { DataError } from '../../src/errors.js';
import { decodeModel, encodeModel, type OnnxModel, type OnnxTensor } from '../../src/model/protobuf.js';
import { floats, integers, network, node, twoLayers } from '../networks.js';
import { type Bench, built, openBench, writeArray } from './parties.js';

/** Prints the most memory the process ever had, in kB, as it ends. */
const measured = ['--import', 'data:text/javascript,process.on("exit",()=>console.error("peak",process.resourceUsage().maxRSS))'];
/** A command that has just started has 110,000. */
const mostKilobytes = 250_000;

function changed(change: (model: OnnxModel) => void): Uint8Array {
  const model = decodeModel(twoLayers());
  change(model);
  return encodeModel(model);
}

const external = (location: string, more: Readonly<Record<string, string>> = {}): OnnxTensor => {
  const { rawData: _, ...tensor } = floats('w1', [3, 2, 3, 3]);
  const externalData = Object.entries({ location, ...more }).map(([key, value]) => ({ key, value }));
  return { ...tensor, externalData, dataLocation: 1 };
};
const withTensor = (tensor: OnnxTensor) =>
  changed(({ graph }) => {
    graph!.initializer[0] = tensor;
  });
const declared = (dims: readonly number[]): OnnxTensor => ({ ...floats('w1', [0]), dims: [...dims] });
/** Groups, each inside the one before, deeper than any stack. */
const nested = (depth: number): Uint8Array => new Uint8Array(2 * depth).fill(0x0b, 0, depth).fill(0x0c, depth);

const one = (op: string, more: Partial<Parameters<typeof network>[0]> = {}) =>
  network({ shape: [4, 6, 6], nodes: [node(op, ['x', 'w'], 'odd')], tensors: [floats('w', [4, 4, 1, 1])], ...more });

const models: readonly (readonly [what: string, file: Uint8Array, code: string, named: RegExp])[] = [
  ['a file cut short', twoLayers().subarray(0, 500), 'bad-model', /./],
  ['an empty file', new Uint8Array(0), 'bad-model', /./],
  ['groups a million deep', nested(1_000_000), 'bad-model', /./],
  [
    'a missing tensor',
    changed(({ graph }) => {
      graph!.initializer.splice(2, 1);
    }),
    'missing-tensor',
    /w2/,
  ],
  [
    'a cycle',
    changed(({ graph }) => {
      graph!.node[0]!.input[0] = 'flat';
    }),
    'cyclic-graph',
    /conv/,
  ],
  ['a shape that does not fit', withTensor(floats('w1', [3, 5, 3, 3])), 'bad-shape', /conv/],
  ['an initialiser that claims 4 TB', withTensor(declared([2 ** 20, 2 ** 20])), 'too-large', /w1/],
  ['an initialiser that claims 800 MB', withTensor(declared([2 ** 20, 200])), 'bad-tensor', /w1/],
  [
    'a picture of 10^12 pixels',
    network({ shape: [1, 2 ** 20, 2 ** 20], nodes: [node('Relu', ['x'], 'r')], tensors: [] }),
    'too-large',
    /x/,
  ],
  [
    'padding to 10^9',
    network({
      shape: [1, 4, 4],
      nodes: [node('Pad', ['x', 'p'], 'padded')],
      tensors: [integers('p', [0, 0, 2 ** 30, 0, 0, 0, 0, 0])],
    }),
    'too-large',
    /padded/,
  ],
  ['external data that is not there', withTensor(external('nosuch.bin')), 'missing-tensor', /nosuch/],
  ['external data outside the folder', withTensor(external('../secret.bin')), 'missing-tensor', /outside/],
  ['external data at the root', withTensor(external('/etc/passwd')), 'missing-tensor', /etc\/passwd/],
  ['external data behind a link out of the folder', withTensor(external('link.bin')), 'missing-tensor', /outside/],
  ['external data that is a folder', withTensor(external('sub')), 'missing-tensor', /sub/],
  ['external data past its end', withTensor(external('short.bin', { offset: '100' })), 'missing-tensor', /short/],
  ['external data at a false offset', withTensor(external('short.bin', { offset: '-8' })), 'bad-tensor', /w1/],
  ['an LSTM', one('LSTM'), 'unsupported-op', /odd \(LSTM\)/],
  ['attention', one('MatMul', { nodes: [node('MatMul', ['x', 'x'], 'odd')], tensors: [] }), 'unsupported-op', /odd \(MatMul\)/],
  [
    'a softmax in the middle',
    one('Softmax', { nodes: [node('Softmax', ['x'], 'odd', { axis: 1 }), node('Conv', ['odd', 'w'], 'conv')] }),
    'unsupported-op',
    /odd/,
  ],
];

describe.skipIf(!built)('the command, given (after npm run build)', () => {
  let bench: Bench;
  let folder: string;
  let good: string;
  let pictures: string;
  beforeAll(() => {
    bench = openBench();
    folder = join(bench.folder, 'models');
    mkdirSync(join(folder, 'sub'), { recursive: true });
    writeFileSync(join(bench.folder, 'secret.bin'), new Uint8Array(1000));
    symlinkSync(join(bench.folder, 'secret.bin'), join(folder, 'link.bin'));
    writeFileSync(join(folder, 'short.bin'), new Uint8Array(200));
    good = join(bench.folder, 'good.onnx');
    writeFileSync(good, twoLayers());
    pictures = join(bench.folder, 'pictures.npy');
    writeArray(pictures, [2, 2, 4, 4], new Float32Array(64).fill(0.5));
  });
  afterAll(() => bench.end());

  /** Runs a command that has to end with status 3, and returns its error. */
  async function refused(...args: string[]): Promise<{ code: string; message: string; hint: string; where: string }> {
    const { status, output, log } = await bench.start([...args, '--json', '--quiet'], { node: measured }).exit;
    expect(status, output + log).toBe(3);
    expect(Number(/peak (\d+)/.exec(log)?.[1])).toBeLessThan(mostKilobytes);
    const { error } = JSON.parse(output);
    expect(error).toMatchObject({
      code: expect.any(String),
      message: expect.any(String),
      hint: expect.any(String),
      where: expect.any(String),
    });
    return error;
  }

  /** Starts of the command are most of this file's time: these claim most, the others are read in this process. */
  const throughTheCommand = /deep|missing tensor|cycle|TB|10\^12|behind a link|LSTM|attention/;

  it.each(models)('%s', async (what, bytes, code, named) => {
    const file = join(folder, 'model.onnx');
    writeFileSync(file, bytes);
    const read = await readOnnx(file)
      .then((onnx) => onnx.readGraph())
      .catch((reason: unknown) => reason);
    expect(read).toBeInstanceOf(DataError);
    const error = throughTheCommand.test(what) ? await refused('estimate', file) : (read as DataError);
    expect(error.code).toBe(code);
    expect(`${error.message} ${error.where}`).toMatch(named);
  });

  it('a compiled model whose files do not belong together, or hold more than they may', async () => {
    const made = join(bench.folder, 'made');
    const { status, output, log } = await bench.start(['compile', good, '--data', pictures, '-o', made, '--json']).exit;
    expect(status, output + log).toBe(0);
    const bomb = new Uint8Array([
      ...new TextEncoder().encode('TSRP'),
      1,
      0,
      0,
      0,
      ...new Uint8Array(32),
      ...deflateSync(new Uint8Array(50 << 20)),
    ]);
    writeFileSync(join(made, 'program.bin'), bomb);
    expect((await refused('run', made, '--data', pictures)).code).toBe('bad-program');
  });

  it('a picture, a descriptor, a spec that cannot be used', async () => {
    const file = (name: string, bytes: string | Uint8Array): string => {
      writeFileSync(join(bench.folder, name), bytes);
      return join(bench.folder, name);
    };
    // A PNG that claims 40,000 × 40,000 pixels.
    const claims = Buffer.from('89504e470d0a1a0a0000000d4948445200009c4000009c40080200000000000000', 'hex');
    expect((await refused('run', good, file('large.png', claims))).code).toBe('bad-picture');
    const descriptor = JSON.stringify({ images: pictures, mean: 'none' });
    expect((await refused('run', good, '--data', file('d.json', descriptor))).code).toBe('bad-descriptor');
    const spec = file('spec.json', JSON.stringify({ schema: 'tessera/spec@1', model: '0'.repeat(64), layers: {} }));
    expect((await refused('run', good, '--data', pictures, '--spec', spec)).code).toBe('wrong-spec');
  });
});
