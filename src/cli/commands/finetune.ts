// tessera finetune: trains a network under a spec (or with cheaper layers in place of others) until it is nearly as right as before.
import { basename } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { replacements } from '../../model/passes/replace.js';
import { openCompute } from '../compute.js';
import { checkWritable, writeWhole } from '../files.js';
import { type Distillation, defaultDistillation, type Finetuned, type FinetuneOptions, finetune } from '../finetuning.js';
import { formatCount, formatSeconds, formatShare } from '../format.js';
import { createCommand, wholeNumber } from '../options.js';
import { trainingOf, writeTrainingPage } from '../report/training.js';
import { perform } from '../task.js';
import { numberBetween, withTraining } from '../training-options.js';

export function finetuneCommand(): Command {
  const example = 'tessera finetune net.onnx --spec spec.json --data train.json --validate test.json -o small.onnx';
  const command = createCommand('finetune', 'Train a network under a spec until it is nearly as right as before.', example)
    .argument('<model>', 'ONNX file')
    .option('--spec <file>', 'block-ReLU spec to train under')
    .addOption(
      new Option('--replace <change>', 'put a cheaper layer in place of another; may be given more than once')
        .choices(Object.keys(replacements))
        .argParser((text: string, before: readonly string[]) => [...before, replacementFrom(text)])
        .default([]),
    )
    .requiredOption('--data <path>', 'training pictures: a folder, records, or a dataset descriptor')
    .addOption(
      new Option('--distill <T,weight>', 'learn from the network as it was at temperature T, and (1 - weight) from labels')
        .argParser(distillationFrom)
        .default(true, '4,0.9'),
    )
    .option('--no-distill', 'learn from labels alone')
    .addOption(new Option('--soft-start <epochs>', 'over which plain ReLU fades').argParser(numberBetween(0, 1e4)).default(0))
    .addOption(new Option('--stages <n>', 'stages over which the spec comes in').argParser(wholeNumber(1, 1000)).default(1))
    .option('--no-batch-norm', 'train convolutions with the batch norm that is folded into them')
    .option('--no-correct', 'begin with the weights as they are, instead of fitted layer by layer to the network as it was')
    .addOption(new Option('--qat <bits>', 'imitate the fixed point of a ring of so many bits').argParser(wholeNumber(16, 32)))
    .addOption(new Option('--ignored-bits <n>', 'with --qat: comparisons that ignore so many low bits').argParser(wholeNumber(0, 31)));
  return withTraining(command)
    .requiredOption('-o, --output <file>', 'ONNX file to write; its spec is put beside it as .spec.json')
    .action((path: string, options: FinetuneOptions) =>
      perform(options, async (task) => {
        if (options.report !== undefined) await checkWritable(options.report);
        const finetuned = await finetune(path, options, task, await openCompute(task, options.threads, { joined: true }));
        const report = options.report === undefined ? {} : { report: options.report };
        if (options.report !== undefined) await writeWhole(options.report, await pageOf(path, finetuned, options));
        task.output.result({ ...finetuned, ...report }, () => describe(finetuned));
      }),
    );
}

function pageOf(path: string, finetuned: Finetuned, { data, validate, spec, replace }: FinetuneOptions): Promise<string> {
  const { metric, file, model } = finetuned;
  const facts = [
    ['network', path],
    ...(spec === undefined ? [] : [['spec', spec] as const]),
    ...(replace.length === 0 ? [] : [['replaced', replace.join(', ')] as const]),
    ...[['training pictures', data] as const, ['validation pictures', validate ?? `set apart from ${data}`] as const],
    ...[['written', file] as const, ['hash', model] as const],
  ] as const;
  return writeTrainingPage({ name: basename(path), metric, training: trainingOf(finetuned), summary: describe(finetuned), facts });
}

function replacementFrom(text: string): string {
  if (text in replacements) return text;
  throw new InvalidArgumentError(`It is one of ${Object.keys(replacements).join(', ')}.`);
}

function distillationFrom(text: string): Distillation {
  const [temperature = Number.NaN, weight = defaultDistillation.weight] = text.split(',').map(Number);
  if (temperature > 0 && temperature <= 100 && weight > 0 && weight <= 1) return { temperature, weight };
  throw new InvalidArgumentError('It is like 4,0.9: a temperature, and a weight from 0 to 1.');
}

function describe({ original, before, corrected, after, metric, epochs, bestEpoch, seconds, images, file, spec }: Finetuned): string {
  const name = metric === 'miou' ? 'mean IoU' : 'top-1';
  const lost = original - before;
  const share = lost > 0 ? `; ${formatShare((after - before) / lost)} of what was lost is won back` : '';
  const fitted = corrected === undefined ? '' : ` ${formatShare(corrected)} corrected,`;
  return [
    `${name} on ${formatCount(images.validation)} pictures: ${formatShare(original)} as given, ${formatShare(before)} before,${fitted} ${formatShare(after)} after${share}`,
    `${formatCount(images.training)} training pictures, ${epochs.length} epochs (best: ${bestEpoch === 0 ? 'none: the weights it began with' : bestEpoch}), in ${formatSeconds(seconds)}`,
    file,
    ...(spec === undefined ? [] : [spec]),
  ].join('\n');
}
