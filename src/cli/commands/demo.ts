// tessera demo: one private inference with the built-in model and picture, three parties as three processes.
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { openCompute } from '../compute.js';
import { findModel, openModel } from '../model.js';
import { type CommonOptions, createCommand } from '../options.js';
import { openPictures } from '../pictures.js';
import { runPrivately } from '../private-run.js';
import { formatRun } from '../run-report.js';
import { perform } from '../task.js';

const models = fileURLToPath(new URL('../../../../models', import.meta.url));

export function demoCommand(): Command {
  return createCommand('demo', 'One private inference with the built-in model and picture, in three processes.', 'tessera demo').action(
    (options: CommonOptions) =>
      perform(options, async (task) => {
        const settings = {
          ...options,
          ring: 32,
          seed: 1,
          cache: true,
          preprocess: `${models}/cifar10-resnet20.json`,
          calibrate: `${models}/pictures`,
          suite: 'masked',
          parties: 'processes',
          batch: 1,
        } as const;
        const pictures = await openPictures([`${models}/pictures/cat.png`], settings, task.output);
        const source = await findModel(`${models}/cifar10-resnet20.onnx`);
        const model = await openModel(source, settings, task, await openCompute(task, options.threads), pictures);
        task.output.note(
          'A client holds a picture of a cat, a server a network; neither shows its own. A provider sees neither, and helps.\n',
        );
        const report = await runPrivately(task, model, pictures, settings);
        const about = {
          suite: 'masked',
          parties: 'processes',
          calibratedOn: model.summary.calibratedOn,
          plaintext: model.plaintextKind,
        };
        task.output.result({ ...about, ...report }, () => formatRun(report, pictures.classes));
      }),
  );
}
