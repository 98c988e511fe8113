// tessera bench plan: which comparisons are chosen for a network, and the seconds that are predicted and measured with them and with those of
// fewest bytes: ResNet-20 with all its comparisons and with 12 %, ResNet-50 with all and with patches of 4 × 4. --case and --network keep some.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCompute } from '../src/cli/compute.js';
import { formatBytes, formatSeconds } from '../src/cli/format.js';
import { openMachine } from '../src/cli/machine.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { withProgram } from '../src/cli/planning.js';
import type { Patch } from '../src/model/program.js';
import { suites } from '../src/party/session.js';
import { estimate } from '../src/protocol/estimate.js';
import { type PhaseSeconds, planProgram } from '../src/protocol/planning.js';
import { parseNetwork } from '../src/wire/profiles.js';
import { compileOnnx } from './_compile.js';
import { networkBytes } from './_networks.js';
import { benchOptions, commandTask, median, printRows, withParties } from './_parties.js';
import { resnet20 } from './_resnet20.js';

const masked = suites.masked!;
const options = benchOptions();
const { threads, match = '' } = options;

interface Row {
  readonly case: string;
  readonly network: string;
  /** Comparing layers, and those of them in one round trip. */
  readonly layers: number;
  readonly direct: number;
  readonly plan: 'fewest bytes' | 'chosen';
  readonly rounds: number;
  readonly bytes: number;
  readonly runs: number;
  readonly predicted: PhaseSeconds;
  readonly measured: PhaseSeconds;
}

interface Case {
  readonly name: string;
  readonly model: StoredModel;
  readonly networks: readonly string[];
  readonly runs: number;
}

async function randomResnet50(name: string, patch: Patch | undefined): Promise<StoredModel> {
  const { task, end } = commandTask();
  const folder = mkdtempSync(join(tmpdir(), 'tessera-bench-'));
  try {
    const compute = await openCompute(task, threads);
    const path = join(folder, `${name}.onnx`);
    writeFileSync(path, await networkBytes(compute, 'ResNet-50', [3, 224, 224]));
    return await compileOnnx(path, patch, threads, task, compute);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await end();
  }
}

async function* cases(): AsyncGenerator<Case> {
  const small = options.networks ?? ['lan', 'wan', 'wan-320', 'wan-40', 'home', 'mobile'];
  const runs = options.runs ?? 5;
  for (const [name, model] of await resnet20(32)) if (name.includes(match)) yield { name, model, networks: small, runs };
  const large: readonly (readonly [name: string, patch?: Patch])[] = [['ResNet-50'], ['ResNet-50, patches of 4 × 4', [4, 4]]];
  for (const [name, patch] of large) {
    if (!name.includes(match)) continue;
    const model = await randomResnet50(name, patch);
    yield { name, model, networks: options.networks ?? ['wan', 'wan-cheetah', 'wan-320', 'wan-40'], runs: options.runs ?? 1 };
  }
}

/** Where the network takes longer than this, one run tells as much as several: it is the network's time. */
const longRunSeconds = 20;

async function measure({ name, model, runs: wanted }: Case, networkName: string): Promise<Row[]> {
  const network = parseNetwork(networkName);
  const { compiled } = model;
  const { task, end } = commandTask();
  const machine = await openMachine({ suite: 'masked', threads, ringBits: compiled.program.ringBits }, task).finally(end);
  const { program, seconds, fewestBytes } = planProgram(compiled.program, masked, network, machine);
  const comparing = program.steps.flatMap((step) => (step.kind === 'relu' || step.kind === 'maxpool' ? [step.comparison] : []));
  const counts = { layers: comparing.length, direct: comparing.filter((way) => way?.roundTrips === 1).length };
  const plans = [
    { plan: 'fewest bytes' as const, own: compiled.program, predicted: fewestBytes, direct: 0 },
    { plan: 'chosen' as const, own: program, predicted: seconds, direct: counts.direct },
  ];
  const rows: Row[] = [];
  for (const { plan, own, predicted, direct } of program === compiled.program ? plans.slice(0, 1) : plans) {
    const image = new Float32Array(own.tensors[own.input]!.shape.reduce((a, b) => a * b, 1));
    const runs = predicted.offline + predicted.online > longRunSeconds ? 1 : wanted;
    const outcomes = await withParties(await withProgram(model, own), { threads, network }, async (session) => {
      const all: PhaseSeconds[] = [];
      for (let run = 0; run < runs + 1; run++) all.push((await session.infer(image, 1)).seconds);
      return all.slice(1);
    });
    const { offline, online } = estimate(own, masked);
    const of = (phase: 'offline' | 'online'): number => median(outcomes.map((each) => each[phase]));
    const measured = { offline: of('offline'), online: of('online') };
    const about = { case: name, network: networkName, layers: counts.layers, direct, plan };
    rows.push({ ...about, rounds: online.rounds, bytes: offline.bytes + online.bytes, runs, predicted, measured });
  }
  return rows;
}

const rows: Row[] = [];
for await (const each of cases()) for (const network of each.networks) rows.push(...(await measure(each, network)));
const inAll = ({ offline, online }: PhaseSeconds): number => offline + online;
printRows(rows, options, {
  case: (row) => row.case,
  network: (row) => row.network,
  plan: (row) => row.plan,
  'one round trip': (row) => `${row.direct} of ${row.layers}`,
  rounds: (row) => String(row.rounds),
  bytes: (row) => formatBytes(row.bytes),
  'predicted offline': (row) => formatSeconds(row.predicted.offline),
  online: (row) => formatSeconds(row.predicted.online),
  'measured offline': (row) => formatSeconds(row.measured.offline),
  ' online': (row) => formatSeconds(row.measured.online),
  'in all': (row) => formatSeconds(inAll(row.measured)),
  'predicted / measured': (row) => (inAll(row.predicted) / inAll(row.measured)).toFixed(2),
  runs: (row) => String(row.runs),
});
