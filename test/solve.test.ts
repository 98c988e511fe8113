// tessera solve as a person or a program meets it: budgets in every unit, baselines, and what it refuses without writing anything.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { candidatePatches, joinCandidates } from '../src/block/candidates.js';
import { channelRows, type Distortion, writeDistortion } from '../src/block/distortion-file.js';
import { createSequence } from '../src/data/generated.js';

const root = join(import.meta.dirname, '..');
const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: { tessera: string } };
const model = join(root, 'models/cifar10-resnet20.onnx');
const folder = mkdtempSync(join(tmpdir(), 'tessera-solve-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
const environment = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') };

// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, looked at key by key.
function tessera(status: number, ...args: string[]): any {
  const options = { encoding: 'utf8', env: environment, timeout: 100_000 } as const;
  const run = spawnSync(process.execPath, [join(root, bin.tessera), ...args, '--json', '--quiet'], options);
  expect(run.status, run.stderr + run.stdout).toBe(status);
  return JSON.parse(run.stdout);
}

/** A distortion file for the built-in network with made-up numbers: larger patches do more harm, by a factor of the channel's own. */
function writeSample(name: string): string {
  const { layers } = tessera(0, 'inspect', model) as { layers: { name: string; kind: string; shape: [number, number, number] }[] };
  const relus = layers.filter(({ kind }) => kind === 'relu');
  const meta: Distortion['meta'] = {
    schema: 'tessera/distortion@1',
    model: createHash('sha256').update(readFileSync(model)).digest('hex'),
    method: 'linear',
    samples: 1,
    probes: 1,
    seed: 1,
    version: '0',
    layers: relus.map((layer) => layer.name),
    shapes: relus.map((layer) => layer.shape),
  };
  const own = meta.shapes.map(([, height, width]) => new Set(candidatePatches(height, width).map(String)));
  const patches = joinCandidates(meta.shapes.map(([, height, width]) => candidatePatches(height, width)));
  const random = createSequence(3);
  const values = channelRows(meta).flatMap(({ layer }) => {
    const scale = Math.exp(3 * random());
    return patches.map((patch) => {
      if (!own[layer]!.has(String(patch))) return Number.NaN;
      const area = patch[0] * patch[1];
      return scale * (area === 0 ? 200 : area - 1) * (0.9 + 0.2 * random());
    });
  });
  const file = join(folder, name);
  writeFileSync(file, writeDistortion({ meta, patches, values: Float64Array.from(values) }));
  return file;
}

const file = writeSample('d.npz');
const spec = join(folder, 'spec.json');
const full = 188_416;

describe('tessera solve', () => {
  it('spends a share of the DReLUs, with a proof', () => {
    const solved = tessera(0, 'solve', file, '--budget', '25%', '-o', spec);
    expect(solved).toMatchObject({ drelusFull: full, budget: full / 4, gap: 0 });
    expect(solved.drelus).toBeLessThanOrEqual(full / 4);
    expect(solved.drelus).toBeGreaterThan(0.99 * (full / 4));
    expect(solved.layers.reduce((sum: number, { kept }: { kept: number }) => sum + kept, 0)).toBe(solved.drelus);
    const written = JSON.parse(readFileSync(spec, 'utf8'));
    expect(written).toMatchObject({ schema: 'tessera/spec@1', made: { budget: '25%', cost: 'drelus', method: 'linear' } });
    expect(Object.keys(written.layers)).toEqual(solved.layers.map(({ name }: { name: string }) => name));
  });

  it('is better than its baselines, which cost no less', () => {
    const budget = ['--budget', '12%'];
    const best = tessera(0, 'solve', file, ...budget, '-o', spec);
    const layerwise = tessera(0, 'solve', file, ...budget, '--baseline', 'per-layer', '-o', spec);
    const shuffled = tessera(0, 'solve', file, ...budget, '--baseline', 'shuffled', '-o', spec);
    expect(best.objective).toBeLessThan(layerwise.objective);
    expect(best.objective).toBeLessThan(shuffled.objective);
    expect(shuffled.drelus).toBe(best.drelus);
    const uniform = tessera(0, 'solve', file, '--uniform', '2x4', '-o', spec);
    expect(uniform).toMatchObject({ drelus: full / 8, budget: null, gap: null });
    expect(tessera(0, 'solve', file, '--budget', String(full / 8), '-o', spec).objective).toBeLessThan(uniform.objective);
  });

  it('keeps a budget in bytes, by the estimate of what it makes', () => {
    const plain = tessera(0, 'estimate', model, '--suite', 'masked').suites.masked;
    const half = Math.round(0.75 * plain.online.bytes);
    const solved = tessera(0, 'solve', file, '--budget', `${half}B`, '--phase', 'online', '--model', model, '-o', spec);
    expect(solved.cost).toBeLessThanOrEqual(half);
    expect(solved.cost).toBeGreaterThan(0.98 * half);
    expect(tessera(0, 'estimate', model, '--spec', spec, '--suite', 'masked').suites.masked.online.bytes).toBe(solved.cost);
  });

  it('lets channels pass or vanish with --constants: then the least budget is nothing', () => {
    expect(tessera(2, 'solve', file, '--budget', '0.1%', '-o', join(folder, 'none.json')).error.code).toBe('budget-too-small');
    expect(tessera(0, 'solve', file, '--budget', '0', '--constants', '-o', spec)).toMatchObject({ drelus: 0, gap: 0 });
  });

  it.each([
    ['a budget above the full cost', 2, 'budget-too-large', [file, '--budget', '101%']],
    ['a budget that is none', 2, 'bad-budget', [file, '--budget', 'much']],
    ['no budget', 2, 'usage', [file]],
    ['a budget in another unit than its cost', 2, 'bad-budget', [file, '--budget', '20MB', '--cost', 'drelus']],
    ['bytes of no model', 2, 'usage', [file, '--budget', '20MB']],
    ['bytes below what the network needs', 2, 'budget-too-small', [file, '--budget', '20kB', '--model', model]],
    ['a patch that is none', 2, 'usage', [file, '--uniform', '0x0']],
    ['both a budget and a uniform patch', 2, 'usage', [file, '--uniform', '2x2', '--budget', '5%']],
    ['a file that is not there', 3, 'no-such-file', [join(folder, 'nothing.npz'), '--budget', '5%']],
    ['a file cut short', 3, 'bad-distortion', [join(folder, 'cut.npz'), '--budget', '5%']],
    ['a patch larger than its map', 3, 'bad-distortion', [join(folder, 'large.npz'), '--budget', '5%']],
    ['another model', 2, 'wrong-model', [join(folder, 'other.npz'), '--budget', '2MB', '--model', model]],
  ])('refuses %s, and writes nothing', (_, status, code, args) => {
    writeFileSync(join(folder, 'cut.npz'), readFileSync(file).subarray(0, 10_000));
    const patches = [[1, 1]] as const;
    const meta = { schema: 'tessera/distortion@1', method: 'linear', samples: 1, probes: 1, seed: 1, version: '0' } as const;
    const other: Distortion = {
      meta: { ...meta, model: 'a'.repeat(64), layers: ['x'], shapes: [[1, 1, 1]] },
      patches,
      values: Float64Array.of(0),
    };
    writeFileSync(join(folder, 'other.npz'), writeDistortion(other));
    const meant = { ...other, patches: [[2, 1]] as const };
    writeFileSync(join(folder, 'large.npz'), writeDistortion(meant));
    const target = join(folder, 'kept.json');
    writeFileSync(target, 'as it was');
    const { error } = tessera(status, 'solve', ...args, '-o', target);
    expect(error.code).toBe(code);
    expect(error.hint.length).toBeGreaterThan(10);
    expect(readFileSync(target, 'utf8')).toBe('as it was');
    expect(existsSync(`${target}.part`)).toBe(false);
  });
});
