// tessera distort as a person meets it: what it writes, what it refuses, and a run that is killed.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { channelRows, readDistortion } from '../src/block/distortion-file.js';
import { floats, network, node, seeded, twoLayers } from './networks.js';

const root = join(import.meta.dirname, '..');
const main = join(root, 'dist/src/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'tessera-distort-'));
afterAll(() => rmSync(folder, { recursive: true }));

const resnet = join(root, 'models/cifar10-resnet20.onnx');
const preprocessing = join(root, 'models/cifar10-resnet20.json');
const pictures = join(folder, 'pictures.bin');
const next = seeded(1);
/** Records of the CIFAR format: a label and 3 × 32 × 32 bytes. */
const record = 1 + 3 * 32 * 32;
writeFileSync(
  pictures,
  Uint8Array.from({ length: 96 * record }, (_, i) => (i % record === 0 ? (i / record) % 10 : next() >>> 24)),
);

const flags = ['--preprocess', preprocessing, '--json', '--quiet'];

function distort(...args: string[]): { status: number | null; answer: Record<string, unknown>; stderr: string } {
  const run = spawnSync(process.execPath, [main, 'distort', ...args, '--json', '--quiet'], { encoding: 'utf8', timeout: 100_000 });
  return { status: run.status, answer: JSON.parse(run.stdout || '{}'), stderr: run.stderr };
}

const small = join(folder, 'small.onnx');
const smallNetwork = network({
  shape: [3, 32, 32],
  nodes: [
    node('Conv', ['x', 'w1'], 'conv', { kernel_shape: [3, 3], strides: [8, 8], pads: [1, 1, 1, 1] }),
    node('Relu', ['conv'], 'relu'),
    node('Flatten', ['relu'], 'flat'),
    node('Gemm', ['flat', 'w2'], 'dense', { transB: 1 }),
  ],
  tensors: [floats('w1', [2, 3, 3, 3]), floats('w2', [10, 32])],
});
writeFileSync(small, smallNetwork);

describe('tessera distort', () => {
  it.each(['linear', 'exact', 'loss'])('writes a distortion file by the method %s', (method) => {
    const file = join(folder, `${method}.npz`);
    const { status, answer, stderr } = distort(small, '--data', pictures, '--method', method, '--samples', '9', '-o', file);
    expect(status, stderr).toBe(0);
    expect(answer).toMatchObject({ channels: 2, candidates: 11, samples: 9, file, method, resumed: 0 });
    const { meta } = readDistortion(readFileSync(file), file);
    expect(meta).toMatchObject({ method, samples: 9, layers: ['relu'], shapes: [[2, 4, 4]] });
    expect(channelRows(meta)).toHaveLength(2);
    expect(existsSync(`${file}.unfinished`)).toBe(false);
  });

  it('goes on after a kill, to the same file', async () => {
    const [whole, killed] = [join(folder, 'whole.npz'), join(folder, 'killed.npz')];
    const args = [resnet, '--data', pictures, '--samples', '96', '--probes', '3', '--candidates', 'square'];
    const child = spawn(process.execPath, [main, 'distort', ...args, '-o', killed, ...flags], { stdio: 'ignore' });
    const done = (): number => {
      try {
        return JSON.parse(readFileSync(`${killed}.unfinished`, 'latin1').split('\n', 1)[0]!).done;
      } catch {
        return 0;
      }
    };
    const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_, signal) => resolve(signal)));
    while (done() === 0 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');
    const { answer } = distort(...args, '-o', killed, ...flags.slice(0, 2));
    expect(answer.resumed).toBeGreaterThan(0);
    expect(distort(...args, '-o', whole, ...flags.slice(0, 2)).answer.resumed).toBe(0);
    expect(readFileSync(killed).equals(readFileSync(whole))).toBe(true);
    expect(readdirSync(folder).filter((name) => /unfinished|part/.test(name))).toEqual([]);
  });

  it('says how well its sums foretell joint distortions, and ranks as the exact distortion does', () => {
    const args = [small, '--data', pictures, '--samples', '9', '--additivity', '5', '--compare', '2', '-o', join(folder, 'checked.npz')];
    const { status, answer, stderr } = distort(...args);
    expect(status, stderr).toBe(0);
    const { additivity, comparison } = answer as { additivity: { points: object[]; correlation: number }; comparison: object };
    expect(additivity.points).toHaveLength(10);
    expect(additivity.points[0]).toEqual({
      kind: 'optimal',
      ...{ share: expect.any(Number), predicted: expect.any(Number), measured: expect.any(Number) },
    });
    expect(comparison).toMatchObject({ pairs: 16, channels: 2, pictures: 9 });
    expect((comparison as { correlation: number }).correlation).toBeGreaterThan(0.9);
    expect(distort(...args, '--method', 'loss').answer.error).toMatchObject({ code: 'usage' });
  });

  it("measures the paper's own patches, and at the features", () => {
    const file = join(folder, 'seed.npz');
    expect(distort(small, '--data', pictures, '--samples', '4', '--candidates', 'seed', '-o', file).answer).toMatchObject({
      candidates: 9,
    });
    expect(readDistortion(readFileSync(file), file).patches).not.toContainEqual([1, 4]);
    const before = distort(resnet, '--data', pictures, '--samples', '2', '--at', 'features', '-o', file, ...flags.slice(0, 2));
    expect(before.answer).toMatchObject({ at: 'features', channels: 688 });
    expect(distort(small, '--data', pictures, '--at', 'features', '-o', file).answer.error).toMatchObject({ code: 'no-global-pooling' });
  });

  it('measures under a spec, for a choice that knows what the other patches do', () => {
    const [first, second, spec] = [join(folder, 'first.npz'), join(folder, 'second.npz'), join(folder, 'first.json')];
    const solve = (file: string) => spawnSync(process.execPath, [main, 'solve', file, '--budget', '20%', '-o', spec], { encoding: 'utf8' });
    const args = [resnet, '--data', pictures, '--samples', '4', '--candidates', 'square', ...flags.slice(0, 2)];
    distort(...args, '-o', first);
    expect(solve(first).status).toBe(0);
    const { status, stderr } = distort(...args, '--spec', spec, '-o', second);
    expect(status, stderr).toBe(0);
    const [before, under] = [first, second].map((file) => readDistortion(readFileSync(file), file));
    expect(under!.meta).toMatchObject({ under: expect.stringMatching(/^[0-9a-f]{64}$/), layers: before!.meta.layers });
    expect(under!.values).not.toEqual(before!.values);
    expect(solve(second).status).toBe(0);
    expect(distort(small, '--data', pictures, '--spec', spec, '-o', second).answer.error).toMatchObject({ code: 'wrong-spec' });
    expect(distort(...args, '--method', 'exact', '--spec', spec, '-o', second).answer.error).toMatchObject({ code: 'usage' });
  });

  it('does not go on from what another measurement left', () => {
    const file = join(folder, 'other.npz');
    writeFileSync(`${file}.unfinished`, `${JSON.stringify({ key: 'another', done: 5 })}\n`);
    const { answer } = distort(small, '--data', pictures, '--samples', '9', '-o', file);
    expect(answer).toMatchObject({ samples: 9, resumed: 0 });
  });

  it('gives a spec with which float answers as fixed point does', () => {
    const [file, spec] = [join(folder, 'd.npz'), join(folder, 'spec.json')];
    distort(small, '--data', pictures, '--samples', '4', '-o', file);
    const solve = spawnSync(process.execPath, [main, 'solve', file, '--uniform', '4x4', '-o', spec], { encoding: 'utf8' });
    expect(solve.status, solve.stderr).toBe(0);
    const evaluate = (...more: string[]): { agreement: number; top1: number } => {
      const args = ['evaluate', small, '--data', pictures, '--no-cache', ...flags, ...more];
      return JSON.parse(spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' }).stdout);
    };
    // A shared sign that flips takes a whole patch with it: docs/optimiser.md, which ring.
    const fixed = evaluate('--spec', spec, '--precision', 'fixed', '--ring', '48');
    const float = evaluate('--spec', spec, '--precision', 'float');
    expect(fixed.agreement).toBeGreaterThan(0.95);
    expect(Math.abs(fixed.top1 - float.top1)).toBeLessThan(0.05);
  });

  describe('refuses, and leaves what is there,', () => {
    const kept = join(folder, 'kept.npz');
    const twoPlanes = join(folder, 'two-planes.onnx');
    const linear = join(folder, 'linear.onnx');
    const unlabelled = join(folder, 'unlabelled');
    writeFileSync(kept, 'as it was');
    writeFileSync(twoPlanes, twoLayers());
    writeFileSync(
      linear,
      network({
        shape: [3, 32, 32],
        nodes: [node('Conv', ['x', 'w'], 'y', { kernel_shape: [1, 1] })],
        tensors: [floats('w', [1, 3, 1, 1])],
      }),
    );
    mkdirSync(unlabelled);
    writeFileSync(join(folder, 'empty.bin'), '');
    it.each([
      ['an empty set', 3, [small, '--data', join(folder, 'empty.bin')], undefined],
      ['a folder without pictures', 3, [small, '--data', unlabelled], undefined],
      ['pictures of another size', 3, [twoPlanes, '--data', pictures], 'wrong-picture-shape'],
      ['a network without activations', 3, [linear, '--data', pictures], 'no-activations'],
      ['a call without pictures', 2, [small], 'usage'],
      ['no probes', 2, [small, '--data', pictures, '--probes', '0'], 'usage'],
    ])('%s', (_, expected, args, code) => {
      const { status, answer } = distort(...args, '-o', kept);
      expect(status).toBe(expected);
      expect(answer.error).toMatchObject({
        message: expect.any(String),
        hint: expect.any(String),
        ...(code === undefined ? {} : { code }),
      });
      expect(readFileSync(kept, 'utf8')).toBe('as it was');
    });

    it('a file that cannot be written, before it measures', () => {
      const { status, answer } = distort(small, '--data', pictures, '-o', join(folder, 'nowhere', 'd.npz'));
      expect([status, (answer.error as { code: string }).code]).toEqual([3, 'unwritable-file']);
    });
  });
});
