// tessera bench estimate: seconds as `estimate` predicts them and as a run then takes them, ResNet-20 with all its comparisons and with 12 %.
import { openMachine } from '../src/cli/machine.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { suites } from '../src/party/session.js';
import { predictSeconds } from '../src/protocol/timing.js';
import { networkProfiles } from '../src/wire/profiles.js';
import { type BenchOptions, benchOptions, commandTask, median, printRows, withParties } from './_parties.js';
import { resnet20 } from './_resnet20.js';

const runs = Number(process.env.TESSERA_RUNS ?? 5);
const profiles = ['lan', 'wan', 'home', 'mobile'] as const;

interface Row {
  readonly case: string;
  readonly suite: string;
  readonly ringBits: number;
  readonly network: string;
  readonly phase: 'offline' | 'online';
  readonly runs: number;
  readonly predicted: number;
  readonly seconds: number;
  readonly ratio: number;
}

async function measure(
  name: string,
  model: StoredModel,
  suite: string,
  network: (typeof profiles)[number],
  options: BenchOptions,
): Promise<Row[]> {
  const { program } = model.compiled;
  const { task, end } = commandTask();
  const machine = await openMachine({ suite, threads: options.threads, ringBits: program.ringBits }, task).finally(end);
  const predicted = predictSeconds(program, suites[suite]!, 1, networkProfiles[network], machine);
  const image = new Float32Array(program.tensors[program.input]!.shape.reduce((a, b) => a * b, 1));
  const outcomes = await withParties(model, { ...options, suite, network: networkProfiles[network] }, async (session) => {
    const all = [];
    for (let i = 0; i < runs + 1; i++) all.push(await session.infer(image, 1));
    return all.slice(1);
  });
  return (['offline', 'online'] as const).map((phase) => {
    const seconds = median(outcomes.map((outcome) => outcome.seconds[phase]));
    const common = { case: name, suite, ringBits: program.ringBits, network, phase, runs };
    return { ...common, predicted: predicted[phase], seconds, ratio: predicted[phase] / seconds };
  });
}

const options = benchOptions();
const rows: Row[] = [];
for (const suite of Object.keys(suites)) {
  for (const [name, model] of await resnet20()) {
    for (const network of profiles) rows.push(...(await measure(name, model, suite, network, options)));
  }
}
printRows(rows, options, {
  case: (row) => row.case,
  suite: (row) => row.suite,
  network: (row) => row.network,
  phase: (row) => row.phase,
  predicted: (row) => row.predicted.toFixed(3),
  measured: (row) => row.seconds.toFixed(3),
  ratio: (row) => row.ratio.toFixed(2),
});
