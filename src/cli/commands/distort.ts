// tessera distort: measures what every patch on every channel does to the output, and writes the distortion file.
import { type Command, Option } from 'commander';
import { type CandidateKind, candidateKinds } from '../../block/candidates.js';
import { type MeasuringPlace, measuringPlaces, planMeasurement } from '../../block/distort.js';
import { UsageError } from '../../errors.js';
import { simplify } from '../../model/passes/simplify.js';
import { openCompute } from '../compute.js';
import { type CheckOptions, type Checks, checkDistortion, checkPictures, describeChecks } from '../distortion-checks.js';
import { formatCount, formatSeconds } from '../format.js';
import { type MeasuringOptions, measureInto, readPictures } from '../measuring.js';
import { findModel, inputShapeOf } from '../model.js';
import { type CommonOptions, createCommand, wholeNumber, withPictures } from '../options.js';
import { checkShape, openPictures, type PictureOptions } from '../pictures.js';
import { readSpec } from '../spec.js';
import { perform, type Task } from '../task.js';

interface DistortOptions extends CommonOptions, PictureOptions, CheckOptions, MeasuringOptions {
  readonly seed: number;
  readonly candidates: CandidateKind;
  readonly spec?: string;
  readonly output: string;
}

interface Distorted extends Checks {
  readonly channels: number;
  readonly candidates: number;
  readonly samples: number;
  /** Of this run; pictures that an earlier one had measured are not in it. */
  readonly seconds: number;
  readonly file: string;
  readonly method: DistortOptions['method'];
  readonly at: MeasuringPlace;
  readonly layers: number;
  /** Pictures that an unfinished run had measured. */
  readonly resumed: number;
}

export function distortCommand(): Command {
  const command = createCommand(
    'distort',
    'Measure what sharing comparisons does to the output, for every channel and patch.',
    'tessera distort net.onnx --data train.json --samples 256 -o net.npz',
  );
  return withPictures(command)
    .argument('<model>', 'ONNX file')
    .addOption(
      new Option('--method <kind>', 'first order at once, one run for each channel and patch, or the signed change of the loss')
        .choices(['linear', 'exact', 'loss'])
        .default('linear'),
    )
    .addOption(new Option('--samples <n>', 'pictures to measure with, drawn from those given').argParser(wholeNumber(1)).default(256))
    .addOption(new Option('--probes <n>', 'random directions at the output for each picture').argParser(wholeNumber(1, 1024)).default(4))
    .addOption(new Option('--seed <n>', 'seed of pictures and directions').argParser(wholeNumber(0, 2 ** 32 - 1)).default(1))
    .addOption(
      new Option('--candidates <kind>', "patches to measure: all worth it, square ones, or the paper's own lists")
        .choices(candidateKinds)
        .default('generated'),
    )
    .addOption(
      new Option('--at <place>', 'where the change is measured: the scores before a softmax, or what the global pooling reads')
        .choices(measuringPlaces)
        .default('logits'),
    )
    .option('--spec <file>', 'measure under the patches of a spec: what solve then chooses fits their joint effect better')
    .addOption(
      new Option('--compare <channels>', 'also measure so many channels exactly, and say how alike the rankings are').argParser(
        wholeNumber(1),
      ),
    )
    .addOption(
      new Option('--additivity <choices>', 'also measure so many random choices as a whole, and say how well sums foretell it').argParser(
        wholeNumber(3, 10_000),
      ),
    )
    .option('--windows', 'also measure what wrong signs near zero do, from which solve chooses comparison windows', false)
    .requiredOption('-o, --output <file>', 'distortion file to write (.npz); a killed run goes on from <file>.unfinished')
    .action((path: string, options: DistortOptions) =>
      perform(options, async (task) => {
        const distorted = await distort(path, options, task);
        task.output.result(distorted, () => describe(distorted));
      }),
    );
}

async function distort(path: string, options: DistortOptions, task: Task): Promise<Distorted> {
  const { onnx, description } = await findModel(path);
  if (onnx === undefined) {
    const hint = 'Give the ONNX file: a compiled model has no float network left.';
    throw new UsageError('a compiled model cannot be measured', { code: 'usage', where: path, hint });
  }
  checkMethod(options);
  const pictures = await openPictures([], options, task.output, description);
  const { dataset } = pictures;
  const graph = onnx.readGraph(inputShapeOf(onnx, pictures));
  checkShape(dataset, graph.input.shape);
  const spec = options.spec === undefined ? undefined : await readSpec(options.spec, onnx.hash);
  const under = spec === undefined ? {} : { under: spec.patches };
  const measurement = planMeasurement(simplify(graph), { kind: options.candidates, at: options.at, ...under });
  const compute = await openCompute(task, options.threads, { joined: true });
  const work = { onnx, measurement, dataset, data: options.data, ...(spec === undefined ? {} : { under: spec.hash }) };
  const { distortion, sample, seconds, resumed } = await measureInto(options.output, work, options, compute, task);
  const checked = sample.slice(0, checkPictures);
  const wanted = options.additivity !== undefined || options.compare !== undefined;
  const images = wanted ? await readPictures(dataset, checked) : new Float32Array(0);
  const checks = wanted ? await checkDistortion(compute, measurement, distortion, { images, count: checked.length }, options) : {};
  return {
    channels: measurement.rows,
    candidates: measurement.patches.length,
    samples: sample.length,
    seconds,
    file: options.output,
    method: options.method,
    at: options.at,
    layers: measurement.layers.length,
    resumed,
    ...checks,
  };
}

/** Refuses what a method cannot do. */
function checkMethod({ method, at, additivity, compare, spec, windows }: DistortOptions): void {
  const hint = 'Use --method linear.';
  if (spec !== undefined && (method === 'exact' || additivity !== undefined || compare !== undefined)) {
    const reason = 'exact and joint distortions are measured from the network without a spec';
    throw new UsageError(reason, { code: 'usage', where: '--spec', hint: 'Leave --spec out, or measure with --method linear alone.' });
  }
  if (method !== 'loss') return;
  if (windows) throw new UsageError('wrong signs are measured as squared changes', { code: 'usage', where: '--windows', hint });
  if (at === 'features') throw new UsageError('a loss is of the scores', { code: 'usage', where: '--at', hint });
  if (additivity === undefined && compare === undefined) return;
  const where = additivity === undefined ? '--compare' : '--additivity';
  throw new UsageError('changes of a loss have signs, and are not compared with distortions', { code: 'usage', where, hint });
}

function describe({ channels, candidates, samples, seconds, file, method, at, layers, ...checks }: Distorted): string {
  return [
    `${formatCount(channels)} channels of ${layers} layers under up to ${candidates} patches each`,
    `${formatCount(samples)} pictures, ${method}, at the ${at}, in ${formatSeconds(seconds)}`,
    ...describeChecks(checks),
    file,
  ].join('\n');
}
