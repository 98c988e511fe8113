// tessera finetune and train as a person meets them: what they write, what they refuse, and a run that is killed.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, describe, expect, it } from 'vitest';
import { floats, network, node, seeded } from './networks.js';

const root = join(import.meta.dirname, '..');
const main = join(root, 'dist/src/cli/main.js');
const folder = mkdtempSync(join(tmpdir(), 'tessera-train-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

/** Records of the CIFAR format: pictures of noise with a bright band, whose place is the label, or `wrong` places further. */
function records(name: string, count: number, seed: number, labels = 10, wrong = 0): string {
  const next = seeded(seed);
  const size = 1 + 3 * 32 * 32;
  const bytes = new Uint8Array(count * size);
  for (let i = 0; i < count; i++) {
    const label = i % labels;
    for (let p = 1; p < size; p++) {
      const row = ((p - 1) >> 5) & 31;
      bytes[i * size + p] = (next() >>> 25) + (Math.floor(row / 3) === label ? 100 : 0);
    }
    bytes[i * size] = (label + wrong) % labels;
  }
  writeFileSync(at(name), bytes);
  return at(name);
}

const train = records('train.bin', 320, 1);
const validate = records('test.bin', 60, 2);

const small = at('small.onnx');
writeFileSync(
  small,
  network({
    shape: [3, 32, 32],
    nodes: [
      node('Conv', ['x', 'w1'], 'conv', { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
      node('Clip', ['conv', 'low', 'high'], 'relu'),
      node('MaxPool', ['relu'], 'pool', { kernel_shape: [2, 2], strides: [2, 2] }),
      node('Conv', ['pool', 'w2'], 'conv2', { kernel_shape: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1] }),
      node('Relu', ['conv2'], 'relu2'),
      node('Flatten', ['relu2'], 'flat'),
      node('Gemm', ['flat', 'w3'], 'dense', { transB: 1 }),
    ],
    tensors: [
      floats('w1', [8, 3, 3, 3]),
      floats('w2', [8, 8, 3, 3]),
      floats('w3', [10, 512]),
      floats('low', [], Float32Array.of(0)),
      floats('high', [], Float32Array.of(6)),
    ],
  }),
);

function specFor(model: string, name: string): string {
  const layers = { relu: new Array(8).fill([2, 2]), relu2: new Array(8).fill([4, 2]) };
  const hash = createHash('sha256').update(readFileSync(model)).digest('hex');
  writeFileSync(at(name), JSON.stringify({ schema: 'tessera/spec@1', model: hash, made: { budget: '20%' }, layers }));
  return at(name);
}
const spec = specFor(small, 'spec.json');

interface Answer {
  readonly status: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: what the command says, looked at by name
  readonly answer: any;
  readonly stderr: string;
}

function tessera(...args: string[]): Answer {
  const run = spawnSync(process.execPath, [main, ...args, '--json', '--quiet', '--threads', '2'], { encoding: 'utf8', timeout: 60_000 });
  return { status: run.status, answer: JSON.parse(run.stdout || '{}'), stderr: run.stderr };
}

const data = ['--data', train, '--validate', validate];
const finetune = (...args: string[]): Answer => tessera('finetune', small, ...data, ...args);

describe('tessera finetune', () => {
  it('writes a network that is right more often, and a spec that fits it', () => {
    const file = at('tuned.onnx');
    const { status, answer, stderr } = finetune(
      '--spec',
      spec,
      '--epochs',
      '6',
      '--batch-size',
      '16',
      '--learning-rate',
      '0.05',
      '--no-distill',
      '--augment',
      'none',
      '--report',
      at('tuned.html'),
      '-o',
      file,
    );
    expect(status, stderr).toBe(0);
    expect(answer).toMatchObject({ metric: 'top1', file, spec: at('tuned.spec.json'), images: { training: 320, validation: 60 } });
    expect(answer.after).toBeGreaterThan(answer.before + 0.3);
    expect(answer.epochs.map(({ epoch }: { epoch: number }) => epoch)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(answer.corrected).toBeGreaterThan(answer.before);
    expect(answer.bestEpoch).toBeGreaterThan(0);
    expect(answer.epochs[5].loss).toBeLessThan(answer.epochs[0].loss);
    expect(answer.report).toBe(at('tuned.html'));
    const page = readFileSync(answer.report, 'utf8');
    expect(page.match(/<svg /g)).toHaveLength(2);
    expect(page.match(/<tr/g)!.length).toBeGreaterThan(6);
    expect(page).not.toMatch(/<script|<link|<img/i);
    const tunedSpec = JSON.parse(readFileSync(answer.spec, 'utf8'));
    expect(tunedSpec).toMatchObject({ model: answer.model, made: { budget: '20%', finetuned: {} } });
    expect(tunedSpec.layers).toEqual(JSON.parse(readFileSync(spec, 'utf8')).layers);
    const evaluated = tessera('evaluate', file, '--spec', answer.spec, '--data', validate, '--no-cache');
    expect(evaluated.answer.top1).toBeCloseTo(answer.after, 9);
  });

  it('writes the weights it began with where no epoch is better', () => {
    const model = at('tuned.onnx');
    const flags = [
      '--spec',
      specFor(model, 'again.json'),
      '--epochs',
      '2',
      '--learning-rate',
      '0.05',
      '--no-distill',
      '-o',
      at('worse.onnx'),
    ];
    const { answer } = tessera('finetune', model, '--data', records('wrong.bin', 320, 3, 10, 1), '--validate', validate, ...flags);
    expect(answer.bestEpoch).toBe(0);
    expect(answer.after).toBe(answer.corrected);
    for (const { validation } of answer.epochs) expect(validation).toBeLessThan(answer.corrected);
  });

  it('goes on after a kill to the same file, byte for byte', async () => {
    const flags = ['--spec', spec, '--epochs', '3', '--batch-size', '16', '--distill', '2,0.5', '--soft-start', '1', '--stages', '2'];
    const [whole, killed] = [at('whole.onnx'), at('killed.onnx')];
    expect(finetune(...flags, '-o', whole).status).toBe(0);
    const kept = ['--checkpoint', at('kept'), '--checkpoint-seconds', '0'];
    const command = [main, 'finetune', small, ...data, ...flags, ...kept, '-o', killed, '--threads', '2'];
    const child = spawn(process.execPath, command, { stdio: 'ignore' });
    const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once('exit', (_, signal) => resolve(signal)));
    const reached = (): number => {
      try {
        const { epoch, step } = JSON.parse(readFileSync(at('kept/training.checkpoint'), 'latin1').split('\n', 1)[0]!);
        return epoch * 20 + step;
      } catch {
        return 0;
      }
    };
    while (reached() < 25 && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 2));
    child.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');
    expect(existsSync(killed)).toBe(false);
    const before = reached();
    expect(before).toBeLessThan(60);
    const resumed = finetune(...flags, ...kept, '--resume', '-o', killed);
    expect(resumed.answer).toMatchObject({ epochs: [{ epoch: 1 }, { epoch: 2 }, { epoch: 3 }] });
    expect(resumed.answer.bestEpoch).toBeGreaterThan(0);
    expect(readFileSync(killed).equals(readFileSync(whole))).toBe(true);
    const other = finetune(...flags, ...kept, '--learning-rate', '0.5', '--resume', '-o', killed);
    expect([other.status, other.answer.error?.code]).toEqual([3, 'bad-checkpoint']);
  });

  it('stops on Ctrl-C with a checkpoint, and writes no network', async () => {
    const args = ['--spec', spec, '--epochs', '500', '--checkpoint', at('stopped'), '-o', at('stopped.onnx')];
    const child = spawn(process.execPath, [main, 'finetune', small, ...data, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    await new Promise<void>((resolve) => child.stderr.on('data', (text) => /epoch 1 of 500/.test(String(text)) && resolve()));
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(readdirSync(at('stopped'))).toEqual(['training.checkpoint']);
    expect(existsSync(at('stopped.onnx'))).toBe(false);
  });

  it('begins with the weights as they are where that is asked for', () => {
    const flags = ['--spec', spec, '--epochs', '1', '--learning-rate', '1e-9', '--no-correct', '-o', at('begun.onnx')];
    const { answer } = finetune(...flags);
    expect(answer.corrected).toBeUndefined();
    expect(answer.epochs).toHaveLength(1);
    expect(finetune(...flags.filter((flag) => flag !== '--no-correct')).answer.epochs[0].loss).toBeLessThan(answer.epochs[0].loss);
  });

  it('learns under the rounding of a ring and under comparisons that ignore low bits', () => {
    const flags = ['--spec', spec, '--epochs', '1', '--batch-size', '16', '-o', at('rounded.onnx')];
    const losses = [[], ['--qat', '18'], ['--qat', '18', '--ignored-bits', '6']].map((noise) => {
      const { status, answer, stderr } = finetune(...flags, ...noise);
      expect(status, stderr).toBe(0);
      return answer.epochs[0].loss;
    });
    expect(new Set(losses).size).toBe(3);
    const refused = finetune(...flags, '--ignored-bits', '6');
    expect([refused.status, refused.answer.error.code, refused.answer.error.where]).toEqual([2, 'usage', '--ignored-bits']);
  });

  it('trains with cheaper layers in place of others, without a spec', () => {
    const file = at('replaced.onnx');
    const replace = ['--replace', 'maxpool=averagepool', '--replace', 'relu6=relu'];
    const { status, answer, stderr } = finetune(...replace, '--epochs', '2', '-o', file);
    expect(status, stderr).toBe(0);
    expect(answer.spec).toBeUndefined();
    const [before, after] = [small, file].map((path) => tessera('inspect', path).answer);
    expect(after.layers.map(({ kind }: { kind: string }) => kind)).toContain('averagepool');
    // 4 × 8 × 64 maxima and as many caps fall away; every value is compared once.
    expect(after.comparisons).toBeLessThan(before.comparisons / 2);
    expect(after.comparisons).toBe(after.drelus);
  });

  it('learns the same from files, which threads of their own decode, as from records', () => {
    const bytes = readFileSync(train);
    const count = 40;
    writeFileSync(at('forty.bin'), bytes.subarray(0, count * 3073));
    mkdirSync(at('forty'));
    const labels: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const picture = new PNG({ width: 32, height: 32 });
      picture.data.fill(255);
      for (let p = 0; p < 1024; p++) for (let c = 0; c < 3; c++) picture.data[4 * p + c] = bytes[i * 3073 + 1 + c * 1024 + p]!;
      const name = `${String(i).padStart(2, '0')}.png`;
      labels[name] = bytes[i * 3073]!;
      writeFileSync(at(`forty/${name}`), PNG.sync.write(picture));
    }
    writeFileSync(at('forty/labels.json'), JSON.stringify(labels));
    const flags = ['--spec', spec, '--validate', validate, '--epochs', '2', '--batch-size', '8'];
    for (const [from, to] of [
      ['forty.bin', 'records.onnx'],
      ['forty', 'files.onnx'],
    ] as const) {
      expect(tessera('finetune', small, '--data', at(from), ...flags, '-o', at(to)).status).toBe(0);
    }
    expect(readFileSync(at('files.onnx')).equals(readFileSync(at('records.onnx')))).toBe(true);
  });

  it('learns without labels from the network as it was', () => {
    mkdirSync(at('plain'));
    const picture = new PNG({ width: 32, height: 32 });
    const bytes = readFileSync(train);
    for (let i = 0; i < 20; i++) {
      for (let p = 0; p < 1024; p++)
        for (let c = 0; c < 4; c++) picture.data[4 * p + c] = c === 3 ? 255 : bytes[i * 3073 + 1 + c * 1024 + p]!;
      writeFileSync(at(`plain/${i}.png`), PNG.sync.write(picture));
    }
    const args = [
      'finetune',
      small,
      '--spec',
      spec,
      '--data',
      at('plain'),
      '--validate',
      validate,
      '--epochs',
      '2',
      '-o',
      at('taught.onnx'),
    ];
    expect(tessera(...args).status).toBe(0);
    expect(tessera(...args, '--no-distill').answer.error).toMatchObject({
      code: 'no-labels',
      hint: expect.stringContaining('--distill 4,1'),
    });
  });
});

describe('segmentation', () => {
  it('learns a class for each pixel, shifted and mirrored with its picture, the ignored one left out', () => {
    const next = seeded(6);
    for (const part of ['pictures', 'classes']) mkdirSync(at(`pairs/${part}`), { recursive: true });
    for (let i = 0; i < 24; i++) {
      const [picture, classes] = [new PNG({ width: 16, height: 16 }), new PNG({ width: 16, height: 16 })];
      const edge = next() % 17;
      for (let p = 0; p < 256; p++) {
        const label = p % 16 < edge ? 1 : 0;
        picture.data.set([label * 150 + (next() >>> 26), 100, 150 - label * 150 + (next() >>> 26), 255], 4 * p);
        // A row that is not scored, and says the opposite.
        classes.data.fill(p < 16 ? 2 : label, 4 * p, 4 * p + 3);
        classes.data[4 * p + 3] = 255;
      }
      writeFileSync(at(`pairs/pictures/${i}.png`), PNG.sync.write(picture));
      writeFileSync(at(`pairs/classes/${i}.png`), PNG.sync.write(classes, { colorType: 0 }));
    }
    const described = { images: 'pictures', annotations: 'classes', format: 'pairs', ignore: 2, classes: ['left', 'right'] };
    writeFileSync(at('pairs/pairs.json'), JSON.stringify({ ...described, mean: [0.3], std: [0.3], channels: 'rgb' }));
    const net = at('maps.onnx');
    const nodes = [
      node('Conv', ['x', 'w1'], 'conv', { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      node('Relu', ['conv'], 'relu'),
      node('Conv', ['relu', 'w2'], 'scores', { kernel_shape: [1, 1] }),
    ];
    writeFileSync(net, network({ shape: [3, 16, 16], nodes, tensors: [floats('w1', [4, 3, 3, 3]), floats('w2', [2, 4, 1, 1])] }));
    const layers = { relu: new Array(4).fill([2, 2]) };
    const model = createHash('sha256').update(readFileSync(net)).digest('hex');
    writeFileSync(at('maps.json'), JSON.stringify({ schema: 'tessera/spec@1', model, layers }));
    const args = ['--spec', at('maps.json'), '--data', at('pairs/pairs.json'), '--validate', at('pairs/pairs.json'), '--batch-size', '4'];
    const { status, answer, stderr } = tessera('finetune', net, ...args, '--no-distill', '--epochs', '6', '-o', at('learned.onnx'));
    expect(status, stderr).toBe(0);
    expect(answer.metric).toBe('miou');
    expect(answer.after).toBeGreaterThan(Math.max(0.8, answer.before));
  });
});

describe('what cannot be trained', () => {
  const refused = (status: number, code: string, { status: got, answer }: Answer): string => {
    expect([got, answer.error?.code]).toEqual([status, code]);
    return `${answer.error.message} ${answer.error.hint}`;
  };
  const target = at('target.onnx');
  writeFileSync(target, 'what was there');
  const tune = (model: string, ...args: string[]): Answer => tessera('finetune', model, '--epochs', '1', '-o', target, ...args);

  it('is refused with what is wrong, and nothing is overwritten', () => {
    const eleven = records('eleven.bin', 22, 3, 11);
    expect(refused(3, 'bad-label', tune(small, '--spec', spec, '--data', eleven, '--validate', validate))).toMatch(/label 10.*10 classes/);
    expect(refused(3, 'bad-label', tune(small, '--spec', spec, '--data', train, '--validate', eleven))).toMatch(/eleven.bin#10/);
    writeFileSync(at('other.onnx'), Buffer.concat([readFileSync(small), Buffer.from([0x1a, 0])]));
    const foreign = specFor(at('other.onnx'), 'foreign.json');
    expect(refused(3, 'wrong-spec', tune(small, '--spec', foreign, ...data))).toMatch(/another model/);
    mkdirSync(at('empty'));
    expect(refused(3, 'bad-data', tune(small, '--spec', spec, '--data', at('empty'), '--validate', validate))).toMatch(/holds no pictures/);
    expect(refused(3, 'bad-data', tune(small, '--spec', spec, '--data', train, '--limit', '1'))).toMatch(/both trained and validated/);
    expect(refused(2, 'usage', tune(small, ...data))).toMatch(/nothing to fine-tune to/);
    expect(refused(3, 'unwritable-file', tune(small, '--spec', spec, ...data, '-o', at('no/such/folder.onnx')))).toMatch(/folder/);
    expect(readFileSync(target, 'utf8')).toBe('what was there');
  });

  it('names a picture that cannot be read', () => {
    const picture = PNG.sync.write(new PNG({ width: 32, height: 32 }), { colorType: 2 });
    for (const label of ['a', 'b']) {
      mkdirSync(at(`broken/${label}`), { recursive: true });
      for (let i = 0; i < 4; i++) writeFileSync(at(`broken/${label}/${i}.png`), picture);
    }
    writeFileSync(at('broken/b/2.png'), picture.subarray(0, 40));
    const answer = tune(small, '--spec', spec, '--data', at('broken'), '--validate', validate);
    expect(refused(3, 'bad-picture', answer)).toMatch(/b\/2\.png/);
    expect(readFileSync(target, 'utf8')).toBe('what was there');
  });

  it('stops with advice where the steps are too long', () => {
    const args = ['--spec', spec, ...data, '--learning-rate', '1000', '--momentum', '0.99', '--clip-norm', '1e9', '--epochs', '20'];
    expect(refused(1, 'diverged', tune(small, ...args))).toMatch(/Try --learning-rate 200/);
    expect(readFileSync(target, 'utf8')).toBe('what was there');
  });

  it('says that the disk is full, and leaves what was there', (context) => {
    const disk = at('disk');
    mkdirSync(disk);
    // Mounting takes root; elsewhere this is skipped.
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk]).status !== 0) return context.skip();
    try {
      writeFileSync(join(disk, 'net.onnx'), 'what was there');
      const full = tune(small, '--spec', spec, ...data, '-o', join(disk, 'net.onnx'));
      expect(refused(3, 'disk-full', full)).toMatch(/the disk is full/);
      const checkpoint = tune(small, '--spec', spec, ...data, '--checkpoint', join(disk, 'kept'));
      expect(refused(3, 'disk-full', checkpoint)).toMatch(/training\.checkpoint/);
      expect(readFileSync(join(disk, 'net.onnx'), 'utf8')).toBe('what was there');
      expect(readdirSync(disk, { recursive: true }).sort()).toEqual(['kept', 'net.onnx']);
    } finally {
      spawnSync('umount', [disk]);
    }
  });
});

describe('tessera train', () => {
  const recipe = { schema: 'tessera/recipe@1', architecture: 'digits', epochs: 3, batchSize: 32, learningRate: 0.05 };
  /** 28 × 28 grey records of a label byte and pixels. */
  const digits = (name: string, count: number, seed: number): string => {
    const next = seeded(seed);
    const bytes = Uint8Array.from({ length: count * 785 }, (_, i) => {
      const [record, p] = [Math.floor(i / 785), (i % 785) - 1];
      const label = record % 10;
      return p < 0 ? label : (next() >>> 25) + (Math.floor(p / 28 / 3) === label ? 128 : 0);
    });
    writeFileSync(at(name), bytes);
    return at(name);
  };

  it('follows a recipe, whose data may be named in it or in the call', () => {
    digits('digits.bin', 400, 4);
    writeFileSync(at('recipe.json'), JSON.stringify({ ...recipe, data: 'digits.bin' }));
    const file = at('digits.onnx');
    const { status, answer, stderr } = tessera('train', at('recipe.json'), '--report', at('digits.html'), '-o', file);
    expect(status, stderr).toBe(0);
    expect(readFileSync(at('digits.html'), 'utf8')).toContain('digits: top-1 on 40 pictures');
    expect(answer).toMatchObject({ architecture: 'digits', images: { training: 360, validation: 40, heldOut: 40 }, file });
    expect(answer.epochs).toHaveLength(3);
    expect(answer.after).toBeGreaterThan(0.8);
    expect(answer.model).toBe(createHash('sha256').update(readFileSync(file)).digest('hex'));
    const evaluated = tessera('evaluate', file, '--data', digits('more.bin', 50, 5), '--no-cache');
    expect(evaluated.answer.top1).toBeGreaterThan(0.8);
    const called = tessera('train', at('recipe.json'), '--data', at('more.bin'), '--epochs', '1', '-o', at('again.onnx'));
    expect(called.answer.images.training).toBe(45);
  });

  it('refuses a recipe that is none', () => {
    writeFileSync(at('bad.json'), JSON.stringify({ ...recipe, architecture: 'resnet21', data: 'digits.bin' }));
    expect(tessera('train', at('bad.json'), '-o', at('x.onnx')).answer.error).toMatchObject({ code: 'bad-recipe' });
    writeFileSync(at('bad.json'), JSON.stringify({ ...recipe, rate: 1 }));
    expect(tessera('train', at('bad.json'), '-o', at('x.onnx')).answer.error).toMatchObject({ code: 'bad-recipe' });
    writeFileSync(at('bad.json'), JSON.stringify(recipe));
    expect(tessera('train', at('bad.json'), '-o', at('x.onnx')).status).toBe(2);
  });

  it.each(['cifar10-resnet20', 'mnist-digits'])('comes with the recipe %s', (name) => {
    const shipped = join(root, `models/recipes/${name}.json`);
    const { status, answer } = tessera('train', shipped, '--data', validate, '--epochs', '1', '--limit', '0', '-o', at('x.onnx'));
    // The recipe itself is read before the limit is: a wrong one would be exit status 3.
    expect([status, answer.error.code]).toEqual([2, 'usage']);
  });
});
