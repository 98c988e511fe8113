// tessera compile: an ONNX file to a public fixed-point program and the server's weights.
import type { Command } from 'commander';
import { UsageError } from '../../errors.js';
import { openCompute } from '../compute.js';
import { formatBytes, formatCount } from '../format.js';
import { findModel, openModel } from '../model.js';
import { type CompiledSummary, writeModelFolder } from '../model-folder.js';
import { createCommand, type ModelOptions, withCompilation, withPictures, withPlan, withSuite } from '../options.js';
import { openPictures } from '../pictures.js';
import { describePlan, type PlanOptions, planModel } from '../planning.js';
import { describeRing } from '../ring.js';
import { noteDoubts } from '../sessions.js';
import { perform } from '../task.js';

export function compileCommand(): Command {
  const example = 'tessera compile net.onnx --data pictures.json -o net';
  const command = createCommand('compile', 'Turn an ONNX file into a public program and the server’s weights.', example);
  return withPlan(withSuite(withCompilation(withPictures(command))))
    .argument('<model>', 'ONNX file')
    .requiredOption('-o, --output <folder>', 'folder to write')
    .action((path: string, options: ModelOptions & PlanOptions & { readonly suite: string; readonly output: string }) =>
      perform(options, async (task) => {
        const source = await findModel(path, options);
        if (source.onnx === undefined) {
          throw new UsageError(`${path} is compiled already`, { code: 'usage', where: path, hint: 'Give the ONNX file it was made from.' });
        }
        const pictures = options.data === undefined ? undefined : await openPictures([], options, task.output);
        const compute = await openCompute(task, options.threads);
        const model = await planModel(await openModel(source, options, task, compute, pictures, 'calibrate'), options, false, task);
        noteDoubts(model, options.suite, task);
        const { weightBytes, ...files } = await writeModelFolder(options.output, model);
        task.output.result({ ...files, ...model.summary }, () => describe(files, weightBytes, model.summary));
      }),
    );
}

function describe(files: { readonly program: string; readonly weights: string }, weightBytes: number, summary: CompiledSummary): string {
  const { activations, weights } = summary.fractionBits;
  return [
    `${files.program}  public, hash ${summary.hash.slice(0, 16)}…`,
    `${files.weights}  the server’s secret, ${formatBytes(weightBytes)}`,
    ...(summary.ring === undefined ? [] : [describeRing(summary.ring, summary.ringBits)]),
    `ring of ${summary.ringBits} bits; fractional bits ${activations.min}–${activations.max} for activations, ${weights.min}–${weights.max} for weights`,
    ...(summary.plan === undefined ? [] : [describePlan(summary.plan)]),
    `${formatCount(summary.drelus)} ReLUs, ${formatCount(summary.comparisons)} comparisons`,
    `calibrated on ${summary.calibratedOn.images} pictures (${summary.calibratedOn.source}), ${summary.clipped} of their values out of range`,
  ].join('\n');
}
