// tessera bench relu: 10^5 and 10^6 ReLUs with truncation between three processes on one machine. The bytes are the step's own, without the
// masked input and output that any program has; the seconds are those of the whole inference, both included.
import type { StoredModel } from '../src/cli/model-folder.js';
import { programHash } from '../src/model/files.js';
import type { Program } from '../src/model/program.js';
import { onWire } from '../src/protocol/control.js';
import { costEnvironment } from '../src/protocol/estimate.js';
import { masked } from '../src/protocol/masked/suite.js';
import { operationOf } from '../src/protocol/suite.js';
import { type BenchRow, benchOptions, median, printRows, withParties } from './_parties.js';

const runs = 7;
const ringBits = 32;

/** Windows of ResNet-20 at 32 bits are 13 to 16 bits wide; the last row compares every bit. */
const cases = [
  { name: 'relu, 13-bit window', truncateBits: 12, low: 12, high: 25 },
  { name: 'relu, 16-bit window', truncateBits: 15, low: 15, high: 31 },
  { name: 'relu, every bit', truncateBits: 12, low: 0, high: 32 },
];

function reluProgram(count: number, { truncateBits, low, high }: (typeof cases)[number]): Program {
  return {
    schema: 'tessera/program@1',
    ringBits,
    tensors: [
      { shape: [count], scale: 2 ** truncateBits },
      { shape: [count], scale: 1 },
    ],
    input: 0,
    output: 1,
    outputActivation: 'none',
    steps: [{ kind: 'relu', name: 'relu', input: 0, output: 1, truncateBits, window: { low, high } }],
  };
}

async function stored(program: Program): Promise<StoredModel> {
  const hash = await programHash(program);
  const range = { min: 0, max: 0 };
  const summary = { hash, ringBits, fractionBits: { activations: range, weights: range }, drelus: 0, comparisons: 0, clipped: 0 };
  const calibratedOn = { source: 'none', images: 0, extraMarginBits: 0 };
  return { compiled: { program, weights: { layers: [] }, description: { name: 'relu' }, hash }, summary: { ...summary, calibratedOn } };
}

function stepBytes(program: Program, phase: 'offline' | 'online'): number {
  const step = program.steps[0]!;
  const messages = operationOf(masked, step).messages(step, costEnvironment(program, 1));
  return messages.filter((m) => m.phase === phase).reduce((sum, m) => sum + onWire(m), 0);
}

const options = benchOptions();
const rows: BenchRow[] = [];
for (const elements of [1e5, 1e6]) {
  for (const settings of cases) {
    const program = reluProgram(elements, settings);
    const values = Float32Array.from({ length: elements }, (_, i) => ((i * 7919) % 2001) / 1000 - 1);
    const reports = await withParties(await stored(program), options, async (session) => {
      const all = [];
      for (let i = 0; i < runs + 1; i++) all.push(await session.infer(values, 1));
      return all.slice(1);
    });
    const wrong = reports.some(({ logits }) => logits.some((got, i) => ![0, 1].includes(got - Math.floor(Math.max(0, values[i]!)))));
    if (wrong) throw new Error(`${settings.name}: a result is not the plaintext's`);
    const phase = (name: 'offline' | 'online') => ({
      seconds: median(reports.map((r) => r.seconds[name])),
      bytes: stepBytes(program, name),
      rounds: reports[0]!.rounds[name],
    });
    rows.push({
      case: settings.name,
      suite: 'masked',
      elements,
      ringBits,
      network: 'local',
      runs,
      offline: phase('offline'),
      online: phase('online'),
    });
  }
}

printRows(rows, options, {
  case: (row) => row.case,
  elements: (row) => row.elements!.toLocaleString('en'),
  'bytes per ReLU': (row) => ((row.offline.bytes + row.online.bytes) / row.elements!).toFixed(1),
  'offline s': (row) => row.offline.seconds.toFixed(3),
  'online s': (row) => row.online.seconds.toFixed(3),
  'in all s': (row) => (row.offline.seconds + row.online.seconds).toFixed(3),
  runs: (row) => String(row.runs),
});
