// tessera bench estimate: seconds as `estimate` predicts them and as a run then takes them, ResNet-20 with all its comparisons and with 12 %.
import { openMachine } from '../src/cli/machine.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { suites } from '../src/party/session.js';
import { predictSeconds } from '../src/protocol/timing.js';
import { parseNetwork } from '../src/wire/profiles.js';
import { type BenchOptions, benchOptions, commandTask, median, printRows, withParties } from './_parties.js';
import { resnet20 } from './_resnet20.js';

const defaultRuns = 5;
const defaultNetworks = ['lan', 'wan', 'home'];
/** Inferences that are a network's time for the most part hardly differ: no more than fit into so long, but for three. */
const mostSeconds = 20;
const defaultSuites = ['masked', 'securenn'];

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

async function measure(name: string, model: StoredModel, suite: string, network: string, options: BenchOptions): Promise<Row[]> {
  const runs = options.runs ?? defaultRuns;
  const { program } = model.compiled;
  const { task, end } = commandTask();
  const machine = await openMachine({ suite, threads: options.threads, ringBits: program.ringBits }, task).finally(end);
  const predicted = predictSeconds(program, suites[suite]!, 1, parseNetwork(network), machine);
  const image = new Float32Array(program.tensors[program.input]!.shape.reduce((a, b) => a * b, 1));
  const outcomes = await withParties(model, { ...options, suite, network: parseNetwork(network) }, async (session) => {
    const all = [];
    const start = performance.now();
    for (let i = 0; i < runs + 1; i++) {
      if (i > 3 && performance.now() - start > 1000 * mostSeconds) break;
      all.push(await session.infer(image, 1));
    }
    return all.slice(1);
  });
  return (['offline', 'online'] as const).map((phase) => {
    const seconds = median(outcomes.map((outcome) => outcome.seconds[phase]));
    const common = { case: name, suite, ringBits: program.ringBits, network, phase, runs: outcomes.length };
    return { ...common, predicted: predicted[phase], seconds, ratio: predicted[phase] / seconds };
  });
}

const options = benchOptions();
const rows: Row[] = [];
for (const ring of options.rings ?? [32]) {
  for (const [name, model] of await resnet20(ring)) {
    if (!name.includes(options.match ?? '')) continue;
    for (const suite of options.suites ?? defaultSuites) {
      if (suites[suite]?.refuses(model.compiled.program) !== undefined) continue;
      for (const network of options.networks ?? defaultNetworks) rows.push(...(await measure(name, model, suite, network, options)));
    }
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
  runs: (row) => String(row.runs),
});
