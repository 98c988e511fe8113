// npm run models [-- NAME…] [flags]; --help says more.
// Makes what lies under models/ from the recipes there, in steps that go on where a killed call was.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { shuffledOrder } from '../dist/src/data/loader.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const main = join(root, 'dist/src/cli/main.js');
const models = join(root, 'models');
const shared = join(root, '../shared/data');
const unpacked = join(root, '.cache/data');
/** Also where tessera bench scratch looks for the training, so that it is done once. */
const scratch = join(root, '.cache/scratch');
const heldOut = 1000;
const seed = 1;
/**
 * Share of labels in fixed point that has to be the float network's in the ring that a spec asks for. Rings of 20 to 25 bits do; a run takes 32
 * unless --ring says less, and keeps 97 to 99.6 % (models/built-in.json).
 */
const enough = '0.95';

const help = `npm run models [-- NAME…] [flags]: makes models/ from models/recipes, and goes on where a killed call was.

  NAME          cifar10-resnet20, cifar10-resnet20-25, -12, -6 (per cent of its comparisons) or mnist-digits; all when none is named
  --trained F   a ResNet-20 that was trained already, in place of training
                (else: tessera train, kept in .cache/scratch, some 25 minutes on two processors; a finished one is found there)
  --pictures N  training pictures that compressed networks are fine-tuned with (15000)
  --epochs N    of fine-tuning (4)
  --work DIR    where unfinished work is kept (.cache/models)

Needs ../shared/data. Compressed networks take some 5 minutes each on two quiet processors.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', default: false },
    trained: { type: 'string' },
    pictures: { type: 'string', default: '15000' },
    epochs: { type: 'string', default: '4' },
    work: { type: 'string', default: join(root, '.cache/models') },
  },
});

/** Runs a command; what it says of its progress is seen. Returns its JSON. */
function tessera(...args) {
  console.error(`tessera ${args.join(' ')}`);
  const { status, stdout } = spawnSync(process.execPath, [main, ...args, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) {
    process.stderr.write(stdout);
    process.exit(status ?? 1);
  }
  return JSON.parse(stdout.toString());
}

/** Writes whole or not at all. */
function write(file, content) {
  writeFileSync(`${file}.part`, content);
  renameSync(`${file}.part`, file);
}

function copy(from, to) {
  copyFileSync(from, `${to}.part`);
  renameSync(`${to}.part`, to);
}

function trainingDescriptor() {
  const file = join(unpacked, 'cifar10/resnet20.train.json');
  if (!existsSync(join(unpacked, 'cifar10/train.bin'))) {
    const { status } = spawnSync(process.execPath, [join(shared, 'prepare.mjs'), unpacked], { stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Error(`${shared}/prepare.mjs did not unpack the training pictures`);
  }
  return file;
}

/** The network with all its comparisons; its path. */
function trained() {
  if (values.trained !== undefined) return values.trained;
  mkdirSync(scratch, { recursive: true });
  const [recipe, output] = [join(models, 'recipes/cifar10-resnet20.json'), join(scratch, 'ours.onnx')];
  const kept = ['--checkpoint', join(scratch, 'ours'), '--resume'];
  tessera('train', recipe, '--data', trainingDescriptor(), '--validate-limit', String(heldOut), ...kept, '-o', output);
  return output;
}

/** What says how pictures become the input of all four networks: as they were trained. */
function describe() {
  const file = trainingDescriptor();
  const { mean, std, channels, classes } = JSON.parse(readFileSync(file, 'utf8'));
  const names = JSON.parse(readFileSync(join(dirname(file), classes), 'utf8'));
  return `${JSON.stringify({ images: 'pictures', format: 'folder', mean, std, channels, classes: names }, null, 2)}\n`;
}

/**
 * Pictures to fine-tune with and to validate on, as descriptors: the latter are those that the training of the full network did not see either
 * (what `tessera train --validate-limit` sets apart), so that scores on the way flatter neither.
 */
function divided() {
  const file = trainingDescriptor();
  const descriptor = JSON.parse(readFileSync(file, 'utf8'));
  const classes = join(dirname(file), descriptor.classes);
  const records = readFileSync(join(dirname(file), 'train.bin'));
  const size = 3073;
  const order = shuffledOrder(records.length / size, seed, 0);
  const sets = {
    'held-out': order.slice(0, heldOut),
    [`train-${values.pictures}`]: order.slice(heldOut, heldOut + Number(values.pictures)),
  };
  return Object.entries(sets).map(([name, indices]) => {
    const own = [...indices].sort((a, b) => a - b).map((i) => records.subarray(i * size, (i + 1) * size));
    write(join(values.work, `${name}.bin`), Buffer.concat(own));
    const path = join(values.work, `${name}.json`);
    write(path, JSON.stringify({ ...descriptor, images: `${name}.bin`, classes }));
    return path;
  });
}

/** The narrowest ring that keeps the labels of pictures that nothing was trained on, and how many of them. */
function chooseRing(model, spec, data) {
  const folder = join(values.work, 'ring');
  const { ringBits, ring } = tessera(
    'compile',
    model,
    '--spec',
    spec,
    '--data',
    data,
    '--ring',
    'auto',
    '--agreement',
    enough,
    '-o',
    folder,
  );
  return { ringBits, labelsKept: ring.trials.find((trial) => trial.ringBits === ringBits).agreement };
}

function full(name) {
  copy(trained(), join(models, `${name}.onnx`));
  write(join(models, `${name}.json`), describe());
}

/** Chooses, fits, fine-tunes and finds the ring for a share of the comparisons. */
function compressed(name) {
  const share = name.split('-').at(-1);
  const [validate, data] = divided();
  const folder = join(values.work, name);
  const ways = ['--budget', `${share}%`, '--finetune', values.epochs, '--seed', String(seed)];
  tessera('optimize', trained(), '--data', data, '--validate', validate, ...ways, '-o', folder);
  const [model, specFile] = [join(folder, 'model.onnx'), join(folder, 'model.spec.json')];
  const { ringBits, labelsKept } = chooseRing(model, specFile, validate);
  const spec = JSON.parse(readFileSync(specFile, 'utf8'));
  const { schema, model: hash, made, ...rest } = spec;
  const about = { ...made, pictures: Number(values.pictures), epochs: Number(values.epochs), labelsKept };
  copy(model, join(models, `${name}.onnx`));
  write(join(models, `${name}.spec.json`), `${JSON.stringify({ schema, model: hash, made: about, ringBits, ...rest })}\n`);
}

function digits(name) {
  const [output, preprocess] = [join(values.work, `${name}.onnx`), join(models, `${name}.json`)];
  const pictures = [
    '--data',
    join(shared, 'mnist/train-images-idx3-ubyte.gz'),
    '--preprocess',
    preprocess,
    '--validate-limit',
    String(heldOut),
  ];
  const kept = ['--checkpoint', join(values.work, name), '--resume'];
  tessera('train', join(models, `recipes/${name}.json`), ...pictures, ...kept, '-o', output);
  copy(output, join(models, `${name}.onnx`));
}

const makers = {
  'cifar10-resnet20': full,
  ...Object.fromEntries([25, 12, 6].map((share) => [`cifar10-resnet20-${share}`, compressed])),
  'mnist-digits': digits,
};

if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const unknown = positionals.find((name) => !(name in makers));
if (unknown !== undefined || !existsSync(shared)) {
  process.stderr.write(
    unknown === undefined ? `the networks are made from ${shared}, which is not here\n` : `there is no ${unknown}\n${help}`,
  );
  process.exit(2);
}
mkdirSync(values.work, { recursive: true });
for (const name of positionals.length > 0 ? positionals : Object.keys(makers)) makers[name](name);
