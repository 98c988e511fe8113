// tessera optimize as a person meets it: everything in one folder, a call that goes on, and what it refuses without touching what was there.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDistortion } from '../src/block/distortion-file.js';
import { writeNpz } from '../src/data/npy.js';
import { floats, network, node, seeded } from './networks.js';

const root = join(import.meta.dirname, '..');
const main = join(root, 'dist/src/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'tessera-optimize-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const environment = { ...process.env, XDG_CACHE_HOME: at('cache') };

/** Records of the CIFAR format: noise with a bright band, whose place is the label. */
function records(name: string, count: number, seed: number): string {
  const next = seeded(seed);
  const size = 1 + 3 * 32 * 32;
  const bytes = new Uint8Array(count * size);
  for (let i = 0; i < count; i++) {
    for (let p = 1; p < size; p++) bytes[i * size + p] = (next() >>> 25) + (Math.floor((((p - 1) >> 5) & 31) / 3) === i % 10 ? 100 : 0);
    bytes[i * size] = i % 10;
  }
  writeFileSync(at(name), bytes);
  return at(name);
}

const train = records('train.bin', 80, 1);
const validate = records('test.bin', 40, 2);

/** Tensors of so many pictures with a side of so many pixels, without labels. */
function tensors(name: string, count: number, side: number): string {
  const data = Float32Array.from({ length: count * 3 * side * side }, (_, i) => Math.sin(i * i));
  writeFileSync(at(name), writeNpz({ images: { shape: [count, 3, side, side], data } }));
  return at(name);
}

/** A name from outside that must not become a tag. */
const layerName = 'relu<b>&"2"';

function writeSmall(name: string, seed: number): string {
  const parts = {
    shape: [3, 32, 32],
    nodes: [
      node('Conv', ['x', 'w1'], 'conv', { kernel_shape: [3, 3], strides: [4, 4], pads: [1, 1, 1, 1] }),
      node('Relu', ['conv'], 'relu'),
      node('Conv', ['relu', 'w2'], 'conv2', { kernel_shape: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1] }),
      node('Relu', ['conv2'], layerName),
      node('Flatten', [layerName], 'flat'),
      node('Gemm', ['flat', 'w3'], 'dense', { transB: 1 }),
    ],
    tensors: [floats('w1', [4, 3, 3, 3]), floats('w2', [4, 4, 3, 3]), floats(`w3`, [10, 256])],
  };
  const first = parts.tensors[0]!;
  first.rawData![0] = seed;
  writeFileSync(at(name), network(parts));
  return at(name);
}
const small = writeSmall('small.onnx', 1);
const other = writeSmall('other.onnx', 2);

// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, looked at key by key.
function tessera(status: number, ...args: string[]): any {
  const options = { encoding: 'utf8', env: environment, timeout: 100_000 } as const;
  const run = spawnSync(process.execPath, [main, ...args, '--json', '--quiet', '--threads', '2'], options);
  expect(run.status, run.stderr + run.stdout).toBe(status);
  return JSON.parse(run.stdout);
}

const pictures = ['--data', train, '--validate', validate, '--samples', '16'];
const optimize = (status: number, ...args: string[]) => tessera(status, 'optimize', ...args);
const whole = [small, ...pictures, '--budget', '25%', '--budgets', '50%,25%,12%', '--correct', '--finetune', '1'];

/** What every file of a folder holds, by name. */
const contents = (path: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((file) => [file, readFileSync(file, 'latin1')]),
  );

describe('tessera optimize', () => {
  const out = at('out');
  // biome-ignore lint/suspicious/noExplicitAny: as above
  let answer: any;
  beforeAll(() => {
    answer = optimize(0, ...whole, '-o', out);
  }, 120_000);

  it('answers with what distort, solve and evaluate say, and a row for each budget', () => {
    expect(answer).toMatchObject({ channels: 8, samples: 16, file: join(out, 'distortion.npz'), drelusFull: 512, gap: 0, images: 40 });
    expect(answer.drelus).toBeLessThanOrEqual(answer.budget);
    expect(answer.layers.reduce((sum: number, { kept }: { kept: number }) => sum + kept, 0)).toBe(answer.drelus);
    expect(answer).toMatchObject({ top1: expect.any(Number), agreement: expect.any(Number), seconds: expect.any(Number) });
    expect(answer.rows.map(({ name }: { name: string }) => name)).toEqual(['25%', '50%', '12%']);
    expect(answer.rows[0].stages.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining(['knapsack', 'corrected', 'fine-tuned']),
    );
    expect(answer.training.epochs).toHaveLength(1);
    expect(JSON.parse(readFileSync(join(out, 'report.json'), 'utf8'))).toEqual(answer);
  });

  it('writes files that the other commands take, with the scores it says', () => {
    expect(readDistortion(readFileSync(answer.file), answer.file).meta.samples).toBe(16);
    expect(answer).toMatchObject({ spec: join(out, 'model.spec.json'), model: join(out, 'model.onnx') });
    const tuned = tessera(0, 'evaluate', answer.model, '--spec', answer.spec, '--data', validate, '--calibrate', train);
    expect(tuned.top1).toBeCloseTo(answer.top1, 9);
    const [, half] = answer.rows;
    expect(half).toMatchObject({ model: join(out, 'model-50percent.onnx'), spec: join(out, 'model-50percent.spec.json') });
    const corrected = tessera(0, 'evaluate', half.model, '--spec', half.spec, '--data', validate, '--calibrate', train);
    expect(corrected.top1).toBeCloseTo(half.stages.at(-1).score.top1, 9);
    const chosen = tessera(0, 'evaluate', small, '--spec', join(out, 'spec.json'), '--data', validate, '--calibrate', train);
    expect(chosen.top1).toBeCloseTo(answer.rows[0].stages.at(-3).score.top1, 9);
    const estimated = tessera(0, 'estimate', half.model, '--spec', half.spec, '--calibrate', train, '--suite', 'masked').suites.masked;
    expect(estimated.online.bytes).toBe(half.costs.online.bytes);
  });

  it('writes a page that needs nothing else, with every section, and takes no text for tags', () => {
    const page = readFileSync(answer.report, 'utf8');
    for (const id of ['budgets', 'networks', 'layers', 'distortion', 'windows', 'training', 'made'])
      expect(page).toContain(`<section id="${id}">`);
    expect(page.match(/<svg /g)).toHaveLength(7);
    expect(page).toContain(answer.recommendation.sentence.slice(0, 20));
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|\son\w+=/i);
    const addresses = [...page.matchAll(/https?:\/\/[^"'\s<>]+/g)].map(([found]) => found);
    expect(new Set(addresses)).toEqual(new Set(['http://www.w3.org/2000/svg']));
    expect(page).not.toMatch(/(?:href|src)=|url\((?!#)/);
    expect(page).not.toContain('relu<b>');
    expect(page).toContain('relu&lt;b&gt;');
  });

  it('does again only what is missing', () => {
    const before = statSync(join(out, 'distortion.npz')).mtimeMs;
    rmSync(join(out, 'report.html'));
    const { seconds: _, ...same } = optimize(0, ...whole, '-o', out);
    const { seconds: __, ...first } = answer;
    expect(same).toEqual(first);
    expect(existsSync(join(out, 'report.html'))).toBe(true);
    expect(statSync(join(out, 'distortion.npz')).mtimeMs).toBe(before);
    // A file that is not what was written is made again.
    rmSync(join(out, 'distortion.npz'));
    expect(optimize(0, ...whole, '-o', out).objective).toBe(answer.objective);
    expect(statSync(join(out, 'distortion.npz')).mtimeMs).toBeGreaterThan(before);
  });

  it('goes on after a kill, to the same choices', async () => {
    const killed = at('killed');
    const child = spawn(process.execPath, [main, 'optimize', ...whole, '-o', killed, '--threads', '2'], {
      stdio: 'ignore',
      env: environment,
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    while (!existsSync(join(killed, 'spec.json')) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(join(killed, 'report.html'))).toBe(false);
    const before = statSync(join(killed, 'distortion.npz')).mtimeMs;
    const again = optimize(0, ...whole, '-o', killed);
    expect(statSync(join(killed, 'distortion.npz')).mtimeMs).toBe(before);
    expect(again.rows.map(({ solved }: { solved: { layers: object } }) => solved.layers)).toEqual(
      answer.rows.map(({ solved }: { solved: { layers: object } }) => solved.layers),
    );
    expect(readFileSync(again.model)).toEqual(readFileSync(answer.model));
  });

  it('spends bytes, with windows, and refines', () => {
    const plain = tessera(0, 'estimate', small, '--calibrate', train, '--suite', 'masked').suites.masked;
    const budget = `${Math.round(0.9 * (plain.online.bytes + plain.offline.bytes))}B`;
    const flags = ['--budget', budget, '--refine', 'annealing', '--refine-steps', '3', '--finetune', '1'];
    const spent = optimize(0, small, ...pictures, ...flags, '-o', at('bytes'));
    expect(spent).toMatchObject({ costKind: 'bytes', refined: { steps: 3 } });
    expect(spent.cost).toBeLessThanOrEqual(Number(budget.slice(0, -1)));
    const [chosen, tuned] = [join(at('bytes'), 'spec.json'), spent.spec].map((file) => JSON.parse(readFileSync(file, 'utf8')));
    const flagsOfSpec = ['--spec', join(at('bytes'), 'spec.json'), '--calibrate', train, '--suite', 'masked'];
    const { offline, online } = tessera(0, 'estimate', small, ...flagsOfSpec).suites.masked;
    expect(offline.bytes + online.bytes).toBe(spent.cost);
    // What is trained keeps what its budget paid for, and is scored with it.
    expect(Object.keys(chosen.windows ?? {}).length).toBeGreaterThan(0);
    expect(tuned.windows).toEqual(chosen.windows);
    expect(spent.rows[0].fixed).toMatchObject({ top1: expect.any(Number) });
  });

  it('counts equal answers where pictures have no labels', () => {
    const data = ['--data', tensors('unlabelled.npz', 12, 32)];
    const unlabelled = optimize(0, small, ...data, '--budget', '50%', '-o', at('unlabelled'));
    expect(unlabelled).toMatchObject({ metric: 'agreement', heldOut: 2, images: 2 });
    expect(unlabelled.top1).toBeUndefined();
    const refused = optimize(3, small, ...data, '--budget', '50%', '--finetune', '-o', at('untrained'));
    expect(refused.error.code).toBe('no-labels');
    expect(existsSync(at('untrained'))).toBe(false);
  });
});

describe('what tessera optimize refuses', () => {
  const cut = (): string => {
    writeFileSync(at('cut.bin'), readFileSync(train).subarray(0, 0));
    return at('cut.bin');
  };
  it.each([
    ['a budget below the least', 2, 'budget-too-small', () => [small, ...pictures, '--budget', '0.1%']],
    ['a further budget above the full cost', 2, 'budget-too-large', () => [small, ...pictures, '--budget', '25%', '--budgets', '130%']],
    ['a budget that is none', 2, 'bad-budget', () => [small, ...pictures, '--budget', 'much']],
    ['budgets of two kinds', 2, 'bad-budget', () => [small, ...pictures, '--budget', '25%', '--budgets', '20kB']],
    ['windows for DReLUs', 2, 'usage', () => [small, ...pictures, '--budget', '25%', '--windows']],
    ['no pictures', 2, 'usage', () => [small, '--budget', '25%']],
    ['an empty data set', 3, undefined, () => [small, '--data', cut(), '--budget', '25%']],
    ['a model that is none', 3, undefined, () => [train, ...pictures, '--budget', '25%']],
    ['pictures of a wrong size', 3, 'wrong-picture-shape', () => [small, '--data', tensors('narrow.npz', 12, 16), '--budget', '25%']],
  ] as const)('%s, and makes no folder', (_, status, code, args) => {
    const { error } = optimize(status, ...args(), '-o', at('none'));
    if (code !== undefined) expect(error.code).toBe(code);
    expect(error.message.length).toBeGreaterThan(10);
    expect(existsSync(at('none'))).toBe(false);
  });

  it('a folder of another model, whichever file says so', () => {
    const mine = at('mine');
    optimize(0, small, ...pictures, '--budget', '25%', '-o', mine);
    const before = contents(mine);
    for (const remaining of ['distortion.npz', 'spec.json', 'work/state.json']) {
      expect(optimize(3, other, ...pictures, '--budget', '25%', '-o', mine).error).toMatchObject({
        code: 'wrong-folder',
        where: join(mine, remaining),
      });
      expect(contents(mine)).toEqual(before);
      rmSync(join(mine, remaining));
      delete before[join(mine, remaining)];
    }
  });

  it('a folder with a distortion file cut short, or that cannot be made', () => {
    const broken = at('broken');
    mkdirSync(broken);
    writeFileSync(join(broken, 'distortion.npz'), readFileSync(at('out/distortion.npz')).subarray(0, 999));
    const before = contents(broken);
    expect(optimize(3, small, ...pictures, '--budget', '25%', '-o', broken).error.code).toBe('bad-distortion');
    expect(contents(broken)).toEqual(before);
    expect(optimize(3, small, ...pictures, '--budget', '25%', '-o', join(train, 'folder')).error.code).toBe('unwritable-file');
  });

  it.skipIf(process.getuid?.() === 0)('a folder that may not be written to', () => {
    const locked = at('locked');
    mkdirSync(locked);
    chmodSync(locked, 0o500);
    expect(optimize(3, small, ...pictures, '--budget', '25%', '-o', locked).error.code).toBe('unwritable-file');
  });
});
