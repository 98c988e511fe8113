// tessera bench models: which networks load and run unchanged, one generated picture each, in three processes on this machine. The ONNX files
// of TESSERA_MODELS (files or folders, apart by ":"), else the real ones of ../shared/data; says so where there are none. Random weights do:
// time and bytes depend on shapes. --case NAME keeps files whose names contain it.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { sharedLabels } from '../src/cli/answers.js';
import { openCompute } from '../src/cli/compute.js';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../src/cli/format.js';
import { findModel, openModel } from '../src/cli/model.js';
import type { ModelOptions } from '../src/cli/options.js';
import { estimator } from '../src/cli/private-run.js';
import { activated } from '../src/cli/run-report.js';
import { generatePictures } from '../src/data/generated.js';
import { plainPreprocessing } from '../src/data/preprocess.js';
import { resizedShape } from '../src/model/output.js';
import { benchOptions, commandTask, printRows, withParties } from './_parties.js';

interface Row {
  readonly network: string;
  readonly input: string;
  /** Why it does not run; the rest is absent then. */
  readonly refused?: string;
  readonly drelus?: number;
  readonly comparisons?: number;
  /** Share of labels, or of pixels of a map, as in float. */
  readonly agreement?: number;
  readonly offline?: { readonly bytes: number; readonly seconds: number };
  readonly online?: { readonly bytes: number; readonly seconds: number };
}

const shared = ['cifar10/minionn-relu', 'cifar10/minionn-poly5', 'cifar10/resnet20', 'cifar10/resnet32'].map(
  (name) => `../shared/data/${name}.onnx`,
);

/** The ONNX files to run. */
function files(match: string | undefined): readonly string[] {
  const given = process.env.TESSERA_MODELS?.split(':') ?? shared;
  const found = given.filter((path) => existsSync(path));
  const all = found.flatMap((path) => (statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [path]));
  return all.filter((path) => path.endsWith('.onnx') && (match === undefined || basename(path).includes(match)));
}

async function measure(path: string, threads: number): Promise<Row> {
  const network = basename(path, '.onnx');
  const { task, end } = commandTask();
  try {
    const source = await findModel(path);
    const { unsupported, input } = source.onnx!.read();
    const about = { network, input: input.shape.join(' × ') };
    const [first] = unsupported;
    if (first !== undefined) return { ...about, refused: `${first.op}: ${first.reason}` };
    const settings = { suite: 'masked', cache: false, seed: 1 } as ModelOptions;
    const model = await openModel(source, settings, task, await openCompute(task, threads));
    const picture = generatePictures(input.shape, plainPreprocessing(input.shape[0] ?? 1), 1, 2);
    const { program } = model.compiled;
    return await withParties(model, { threads }, async (session) => {
      const { logits, seconds } = await session.infer(picture, 1);
      const cost = estimator(session, 'masked')(1);
      const positions = resizedShape(program)
        .slice(1)
        .reduce((a, b) => a * b, 1);
      const agreement = sharedLabels(activated(program, logits, 1), await model.plaintext(picture, 1), positions);
      const { drelus, comparisons } = model.summary;
      const phase = (name: 'offline' | 'online') => ({ bytes: cost[name].bytes, seconds: seconds[name] });
      return { ...about, drelus, comparisons, agreement, offline: phase('offline'), online: phase('online') };
    });
  } catch (error) {
    return { network, input: '', refused: error instanceof Error ? error.message : String(error) };
  } finally {
    await end();
  }
}

const options = benchOptions();
const rows: Row[] = [];
const paths = files(options.match);
if (paths.length === 0) process.stderr.write('models: no ONNX files; TESSERA_MODELS names some\n');
for (const path of paths) rows.push(await measure(path, options.threads));

const phase = (of: Row['offline']): string => (of === undefined ? '' : `${formatBytes(of.bytes)}, ${formatSeconds(of.seconds)}`);
const count = (n: number | undefined): string => (n === undefined ? '' : formatCount(n));
printRows(rows, options, {
  network: (row) => row.network,
  input: (row) => row.input,
  runs: (row) => row.refused ?? 'yes',
  ReLUs: (row) => count(row.drelus),
  comparisons: (row) => count(row.comparisons),
  'labels or pixels as in float': (row) => (row.agreement === undefined ? '' : formatShare(row.agreement)),
  offline: (row) => phase(row.offline),
  online: (row) => phase(row.online),
});
