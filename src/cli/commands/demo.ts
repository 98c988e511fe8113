// tessera demo: one private inference with the built-in model and picture, three parties as three processes.
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { builtInBudgets, builtInFor, builtInPictures, formatBudgets, readMeasured } from '../built-in.js';
import { openCompute } from '../compute.js';
import { findModel, openModel } from '../model.js';
import { type CommonOptions, createCommand } from '../options.js';
import { openPictures } from '../pictures.js';
import { runPrivately } from '../private-run.js';
import { formatRun } from '../run-report.js';
import { perform, type Task } from '../task.js';

interface DemoOptions extends CommonOptions {
  readonly budget: string;
}

export function demoCommand(): Command {
  const example = 'tessera demo --budget 12%';
  return createCommand('demo', 'One private inference with the built-in model and picture, in three processes.', example)
    .addOption(
      new Option('--budget <share>', `comparisons the network keeps: ${builtInBudgets.join(', ')}`).argParser(budgetFrom).default('full'),
    )
    .action((options: DemoOptions) => perform(options, (task) => demo(options, task)));
}

function budgetFrom(text: string): string {
  const found = builtInBudgets.find((budget) => budget === text || budget === `${text}%`);
  if (found === undefined) throw new InvalidArgumentError(`It is one of ${builtInBudgets.join(', ')}.`);
  return found;
}

async function demo({ budget, ...options }: DemoOptions, task: Task): Promise<void> {
  const { onnx, spec, preprocess } = builtInFor(budget);
  const settings = {
    ...options,
    ...(spec === undefined ? {} : { spec }),
    ...{ seed: 1, cache: true, preprocess, calibrate: builtInPictures },
    ...({ suite: 'masked', parties: 'processes', batch: 1 } as const),
  };
  const pictures = await openPictures([join(builtInPictures, 'cat.png')], settings, task.output);
  const model = await openModel(await findModel(onnx), settings, task, await openCompute(task, options.threads), pictures);
  task.output.note('A client holds a picture of a cat, a server a network; neither shows its own. A provider sees neither, and helps.\n');
  const report = await runPrivately(task, model, pictures, settings);
  const { calibratedOn, ringBits } = model.summary;
  const about = { suite: 'masked', parties: 'processes', budget, ringBits, calibratedOn, plaintext: model.plaintextKind };
  const measured = await readMeasured();
  task.output.result({ ...about, ...report, ...(measured.length === 0 ? {} : { measured }) }, () =>
    [formatRun(report, pictures.classes), formatBudgets(measured, budget)].filter((text) => text !== '').join('\n\n'),
  );
}
