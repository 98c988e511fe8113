// node scripts/docs.mjs operators | built-in | benchmarks [NAME…] [-- flags of tessera bench]      (after npm run build)
// Writes docs/operators.md from the table of ONNX ops, and docs/benchmarks.md from what the benchmark programs print. Named benchmarks
// replace their own sections alone, "networks" runs none; without a name all run, which takes some minutes on two cores. "built-in" measures the
// networks of models/ and writes models/built-in.json, which tessera demo prints from, and the table of them in README.md.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const docs = fileURLToPath(new URL('../docs', import.meta.url));
const main = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));

/** Title and introduction of each benchmark's section, in the order of the page. */
const sections = {
  accuracy: [
    'Real networks',
    `Trained networks and pictures of \`../shared/data\`: labels and logits of private inference beside ONNX Runtime's float ones. Calibrated on pictures
that are not evaluated. \`out of range\` counts evaluated values that left their fixed-point range, by simulation in the clear.`,
  ],
  models: [
    'Networks that run unchanged',
    `One picture each, three processes on one machine. Trained weights where \`../shared/data\` has them, random ones otherwise (\`bench/networks\`, which
any runtime reads): what a network costs does not depend on them. \`error\` is the root mean square over the scores, as a share of their standard
deviation; \`widest margin where not\` is the largest margin, in such errors, of float's two best classes at a pixel that is named otherwise. Random networks have near
ties everywhere, so that some pixels differ, all of them within a few errors of a tie: those of normalised random networks whose shifts are 0 are also chaotic
(0.3 % of noise at the input of an ERFNet or FCN so made moves its scores by 27 to 40 %, in float as well), which took 11 to 13 % of pixels in 32 bits and 0.8 % in 40.
Networks here are made with shifts of 0.75, which trained ones are more like. \`--ring 40\` divides errors by 16.`,
  ],
  imagenet: [
    'Networks at 224 × 224, and one at 512 × 512',
    `One picture, three processes on one machine: medians of the inferences after the first, and the first one's online seconds, in which kernels are compiled and
memory is touched for the first time. Beside it plaintext in ONNX Runtime on as many threads, as machine code and as WASM, and online seconds as times that. SqueezeNet and MobileNetV1
are trained, the others have random weights. Patches are the same everywhere: 6.7 % of the signs of ResNet-50's ReLUs, 6.3 % of DeepLabV3's. That has an output stride of 8, a head of 512
channels and ReLU in place of ReLU6, 85,262,848 activation elements; in 24 bits its labels would have to be trained for (\`finetune --qat\`).`,
  ],
  resnet20: [
    'CIFAR-10 ResNet-20',
    'Single images and streams, three processes on one machine. Offline is what happens before the picture exists.',
  ],
  operations: [
    'Operations by themselves',
    `Three processes on one machine. Bytes are the operation's own, labels included; seconds are those of a whole inference with its masked input and
output. A DReLU alone is no step of a program: its row is what a ReLU takes more than a block ReLU of 4 × 4, for each comparison it makes more.`,
  ],
  truncation: [
    'Truncation of shares',
    `The \`securenn\` suites on ResNet-20 for CIFAR-10: local truncation, exact truncation, and truncation after every second or third linear layer
only (\`--truncate-every\`, 10 fraction bits for activations and weights). A picture failed when a logit is more than 2 from float's: a truncation was off
by 2^(k − f). In local truncation a rarer one saves no bytes, as it costs none; where it fails more often, values are larger.`,
  ],
  suites: [
    'Suites side by side',
    `ResNet-20 for CIFAR-10 with all its comparisons, and with patches of 2 × 4 everywhere, on every network of the table above. A row of the default
suite says where it loses, and to which. A load average beyond 2 is that of a training of the lowest priority, which filled the waits.`,
  ],
  'suites-agreement': [
    'Labels by suite',
    `What the suites name alike, and as float under the same spec: with all comparisons, with 12 % of them chosen without training, and with those and
weights corrected for it. \`widest margin\` is that between float's two best logits where a label is not that of the first row, over the largest error of the two
rows; \`failed\` counts pictures with a logit more than 2 off, which a failed truncation leaves, or a flipped sign that many elements share. At 32 bits local
truncation fails in every picture: sums near 2^28 wrap once in 16. Answers are kept as they are made (\`.cache/bench/agreement.jsonl\`), and the same command goes on.`,
  ],
  profile: [
    'Where the seconds go',
    `One operation by kernel and party. The parties run in one process without worker threads, so that nobody waits: seconds are of one thread.
Between processes the three work at a time, as far as the processors go.`,
  ],
  links: [
    'Links and comparisons',
    `ResNet-20 for CIFAR-10 by the rate of the links, by their round trip, and by the share of comparisons that patches leave, in three processes.

![Seconds by rate](plots/seconds-by-rate.svg)
![Seconds by round trip](plots/seconds-by-round-trip.svg)
![Seconds by share of comparisons](plots/seconds-by-comparisons.svg)`,
  ],
  estimate: [
    'Predicted seconds',
    'Seconds that `estimate` predicts beside those of a run in three processes over imitated networks; the ratio is predicted to measured.',
  ],
  plan: [
    'Plans for networks',
    `How comparisons are made where \`--network\` names a network, chosen by predicted time: in one round trip or two, and with which digits. Seconds
predicted and measured, of three processes over imitated networks, with that plan and with the fewest bytes; no second row where those are what is chosen.`,
  ],
  distortion: [
    'Distortion and choices',
    `Time to measure, rank correlation of first-order and exact distortions (plain ReLU left out), and answers that choices keep without any training.
"Measured again" is \`distort --spec\` under the last choice. The exact distortion has nine patches, as it takes a run of the network for each.

![Accuracy against budget](plots/accuracy.svg)`,
  ],
  correction: [
    'Correction without labels',
    `Answers that choices keep by budget (share of the DReLUs; uniform patches 1 × 2, 2 × 2, 2 × 4 and 4 × 4), without labels and without training: choices
from 256 training pictures, corrections fitted on 512.`,
  ],
  curve: [
    'Accuracy by the share of comparisons',
    `Before and after fine-tuning: the knapsack's choice, and uniform patches for as many comparisons (two sizes, mixed
where no single one costs just that). Fine-tuning begins with corrected weights and learns from the network as it was and labels, or labels
alone; the pictures that choose its epoch are training pictures. Cells are kept as they are finished (\`bench/finetuning.jsonl\`): rows that are absent have not been trained
yet, and the same command goes on.

Rows of 2026-11-21 were trained on two AMD EPYC, one at a time and beside other work; those of 2026-11-28 on two Xeon, two at a time on one thread each: seconds say
what that took.

Published figures are of other networks: compare points lost at equal share, with care. The paper (arXiv 2304.10442) has a ResNet-18 on CIFAR-100 with 557,056
ReLUs: 71.2, 74.9 and 76.9 % of 78.3 % at 6, 9 and 18 %, so 7.1, 3.4 and 1.4 points lost; the networks here have a third of those ReLUs (188,416 and 180,224) and a
fortieth of the weights, and learned from 28,500 pictures in all (one row from 158,000, which loses 3.5 points at 12 %). Below 30 thousand DReLUs (5 % of that ResNet-18) methods that remove or replace ReLUs are its rivals,
DeepReDuce, SENet and AutoReP: the last reports 74.92 % with 12,900 (2.3 %), as much as the paper has at 9 %.

![CIFAR-10: right answers by share of comparisons](plots/curve-resnet20.svg)
![CIFAR-100: right answers by share of comparisons](plots/curve-resnet20-kd.svg)`,
  ],
  ablation: [
    'What each part of fine-tuning does',
    `One change a row. Cells are kept and shared with the curve; rows that are absent have not been trained yet. Rows within two points of each other are alike: what stands out
is that the choice matters (the same patches shuffled within their layers lose five points more, fine-tuned), and that channels which pass or vanish cost nothing once trained and
save a fifth of the bytes (\`solve --constants\`).`,
  ],
  qat: [
    'Smaller rings',
    `Fine-tuned with and without imitating the rounding of a ring of so many bits, and run in it: in float, in fixed point by simulation with the numbers of the
protocol, and privately by three parties. Fewer bits change labels, hardly how many are right, and bytes fall by a quarter and more; imitating the rounding makes no difference
here beyond what cells vary by anyway (two points).`,
  ],
  places: [
    'Where distortion is taken',
    'At the scores or before the global pooling (`distort --at`); and with max pools replaced by average pools, untrained: 256 training pictures each.',
  ],
  memory: [
    'Memory',
    `The most memory that was ever resident in each of three processes, over two inferences, and in brackets what \`tessera estimate\` predicts. Some
85 MB of it are Node, its threads and the programs. Material beyond 256 MiB is drawn anew (client) or lies on disk (server) until its step comes.`,
  ],
  distortion50: [
    'Distortion of a ResNet-50',
    `At 224 × 224, with random weights and pictures. Candidates are those worth trying, or the paper's own lists.`,
  ],
  agreement: [
    'Labels under a spec',
    `A shared sign that flips takes a whole patch with it, so that few bits cost more labels the fewer comparisons there are. Untrained; of 1,000 test
pictures in float and in the fixed-point simulation, of some between three processes. Bytes and seconds are offline and online together.`,
  ],
  windows: [
    'Comparison windows',
    `Accuracy of ResNet-20 when every comparison leaves out so many bits beside those of the exact window, in fixed point with the draws of the protocol.
A bit left out at the low end lets small negative values pass at random; one at the high end takes the sign of large values wrong.

![Right answers by bits left out](plots/ignored-bits.svg)`,
  ],
  pictures: [
    'Labels and pixels of real pictures',
    `The ImageNet networks on 60 photographs, each half calibrated on the other, and ESPNet on the 30 test pictures of CamVid, calibrated on 20 training
pictures: all in fixed point with the draws of the protocol, some of them in three processes.`,
  ],
  segmentation: [
    'Large networks by budget',
    `Without training. ESPNet: distortion at the logits of all pixels, 20 training pictures measured and fitted, evaluated on the 30 test pictures. ImageNet
networks: 30 photographs measured and fitted, 30 others evaluated, so that a picture is 3.3 points. Uniform patches are of two sizes where none costs just the budget.`,
  ],
  growth: [
    'How cost grows',
    `ResNet-18 with random weights, three processes on one machine, all of them kept to one core or to two.

![Seconds by size](plots/growth-seconds-by-size.svg)
![Bytes by size](plots/growth-bytes-by-size.svg)
![Seconds by batch](plots/growth-seconds-by-batch.svg)
![Bytes by batch](plots/growth-bytes-by-batch.svg)
![Seconds by comparisons](plots/growth-seconds-by-comparisons.svg)
![Bytes by comparisons](plots/growth-bytes-by-comparisons.svg)`,
  ],
  kernels: [
    'Kernels',
    'Each as a share of the machine’s own ceiling: a loop of multiply-adds in WASM that stays in the first-level cache.',
  ],
  training: [
    'Training',
    `ResNet-20 on 32 × 32 pictures. The bound is what the packed GEMM of the kernels table reaches, on all threads at once, by three times the
multiply-adds of an image (forward, gradient of the input, gradient of the weights): 3 × 3 kernels at stride 1 make do with a quarter of those, so that a share may be
more than all. PyTorch, where a python3 has it, runs in turns with it.`,
  ],
  scratch: [
    'From scratch',
    `\`models/recipes/cifar10-resnet20.json\` here and in Debian's PyTorch: the same architecture, pictures, crops and flips for each picture, schedule, weight
decay (of weights, not of batch norm and biases) and choice of the epoch on 1,000 training pictures set apart; its own draws, and one seed each, so that a difference of
a point says nothing. Seconds are of learning, and depend on what else the machine did: see the load.`,
  ],
  wire: ['Transports and key streams', 'Between two processes on one machine, in messages of 1 MB.'],
};

const opening = `# Benchmarks

Made by \`npm run docs:benchmarks\`; each table by the command above it, which prints the machine and the day first. Times are medians of the runs
stated. Bytes count label and payload of every message, before WebSocket and TLS framing.
`;

const networks = `What \`--network\` imitates in \`run\`, and \`estimate\` and \`solve\` reckon with; \`RATE,RTT\` gives another. A link delays each
message by half a round trip and carries its rate each way, by itself: a host's links do not share a line, and there is no loss and no slow start.`;

async function writeOperators() {
  const { operatorsMarkdown } = await import('../dist/src/model/ops/table.js');
  writeFileSync(`${docs}/operators.md`, operatorsMarkdown());
}

async function writeBenchmarks(names) {
  const { networksMarkdown } = await import('../dist/src/wire/profiles.js');
  const page = `${docs}/benchmarks.md`;
  const before = existsSync(page) ? readFileSync(page, 'utf8') : '';
  const parts = Object.entries(sections).map(([name, [title, text]]) => {
    const kept = new RegExp(`<!-- ${name} -->\\n([^]*?)\\n<!-- end of ${name} -->`).exec(before)?.[1];
    const body = names.length === 0 || names.includes(name) ? measure(name) : kept;
    return body === undefined ? '' : `\n## ${title}\n\n${text}\n\n<!-- ${name} -->\n${body}\n<!-- end of ${name} -->\n`;
  });
  writeFileSync(page, `${opening}\n## Networks\n\n${networks}\n\n${networksMarkdown()}\n${parts.join('')}`);
}

/** Benchmarks that also draw what they measure. */
const plotted = ['links', 'distortion', 'windows', 'growth', 'curve'];

function measure(name) {
  console.error(`measuring ${name} …`);
  const own = plotted.includes(name) ? ['--plots', `${docs}/plots`, ...flags] : flags;
  // What trains for hours is waited for where it is named; else it prints what it has kept.
  const kept = names.length === 0 ? ['--minutes', '0'] : [];
  const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] };
  const { status, stdout } = spawnSync(process.execPath, [main, 'bench', name, ...own, ...kept], options);
  if (status !== 0) throw new Error(`bench ${name} ended with status ${status}`);
  const few = process.env.TESSERA_IMAGES === undefined ? '' : `TESSERA_IMAGES=${process.env.TESSERA_IMAGES} `;
  const given = flags.map((flag) => ` ${flag.includes(' ') ? `"${flag}"` : flag}`).join('');
  return `\`${few}npm run bench ${name}${given === '' ? '' : ` --${given}`}\`\n\n\`\`\`\n${stdout.trimEnd()}\n\`\`\``;
}

/** What the table in README.md has of each built-in network. */
async function writeBuiltIn() {
  const { formatBytes, formatCount, formatSeconds, formatShare } = await import('../dist/src/cli/format.js');
  const command = `TESSERA_IMAGES=${process.env.TESSERA_IMAGES ?? 50} npm run docs:built-in`;
  const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] };
  const { status, stdout } = spawnSync(process.execPath, [main, 'bench', 'built-in', '--json', ...flags], options);
  if (status !== 0) throw new Error(`bench built-in ended with status ${status}`);
  const { rows } = JSON.parse(stdout);
  writeFileSync(`${docs}/../models/built-in.json`, `${JSON.stringify({ command, rows }, null, 1)}\n`);
  const head = [
    '`models/`',
    'comparisons',
    'right in float',
    'right privately',
    'same label',
    'bytes a picture',
    'offline',
    'online',
    'ring',
  ];
  const cells = rows.map((row) => [
    ...[row.name, formatCount(row.comparisons), formatShare(row.float), formatShare(row.secure), formatShare(row.agreement)],
    ...[formatBytes(row.offline.bytes + row.online.bytes), formatSeconds(row.offline.seconds), formatSeconds(row.online.seconds)],
    `${row.ringBits} bits`,
  ]);
  const [{ images, batch }] = rows;
  const on = `${formatCount(images)} test pictures in batches of ${batch}, three processes on one machine; seconds are of one picture.`;
  const where = [...new Set(rows.map(({ machine }) => machine))].join('; ');
  const loads = rows.map(({ load }) => load).sort((a, b) => a - b);
  const lines = [head, head.map(() => '---'), ...cells].map((row) => `| ${row.join(' | ')} |`);
  const body = `${lines.join('\n')}\n\n(\`${command}\`: ${on}\n${where}, load average ${loads[0].toFixed(1)} to ${loads.at(-1).toFixed(1)}.)`;
  const page = `${docs}/../README.md`;
  const between = /(<!-- built-in -->\n)[\s\S]*?(<!-- end of built-in -->)/;
  const before = readFileSync(page, 'utf8');
  if (!between.test(before)) throw new Error('README.md has no place for the table: <!-- built-in --> … <!-- end of built-in -->');
  writeFileSync(
    page,
    before.replace(between, (_, start, end) => `${start}${body}\n${end}`),
  );
}

const [what, ...rest] = process.argv.slice(2);
const bar = rest.includes('--') ? rest.indexOf('--') : rest.length;
const names = rest.slice(0, bar);
const flags = rest.slice(bar + 1);
const unknown = names.find((name) => !(name in sections) && name !== 'networks');
if (unknown !== undefined) throw new Error(`there is no section ${unknown}: ${Object.keys(sections).join(', ')}`);
if (what === 'operators') await writeOperators();
else if (what === 'built-in') await writeBuiltIn();
else if (what === 'benchmarks') await writeBenchmarks(names);
else throw new Error('say what to write: operators, built-in, or benchmarks');
