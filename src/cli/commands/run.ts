// tessera run: private inference with all three parties on this machine, beside the plaintext answer.
import type { Command } from 'commander';
import { Option } from 'commander';
import { suites } from '../../party/session.js';
import { type NetworkProfile, parseNetwork } from '../../wire/profiles.js';
import { openCompute } from '../compute.js';
import { findModel, openModel } from '../model.js';
import { createCommand, type ModelOptions, wholeNumber, withCompilation, withPictures } from '../options.js';
import { openPictures } from '../pictures.js';
import { runPrivately } from '../private-run.js';
import { formatRun } from '../run-report.js';
import { perform, type Task } from '../task.js';

export interface RunOptions extends ModelOptions {
  readonly suite: string;
  readonly parties: 'memory' | 'processes';
  readonly network?: NetworkProfile;
  readonly batch: number;
}

export function runCommand(): Command {
  const example = 'tessera run net.onnx cat.png --preprocess net.json --parties processes';
  const command = withCompilation(withPictures(createCommand('run', 'Private inference, all three parties on this machine.', example)));
  return withParties(command)
    .argument('<model>', 'ONNX file or compiled model')
    .argument('[image...]', 'pictures')
    .action((path: string, images: string[], options: RunOptions) => perform(options, (task) => runPictures(task, path, images, options)));
}

/** Adds the flags that say how the three parties run. */
export function withParties(command: Command): Command {
  return command
    .addOption(new Option('--suite <name>', 'protocol suite').choices(Object.keys(suites)).default('masked'))
    .addOption(
      new Option('--parties <where>', 'in one process or in three with real sockets').choices(['memory', 'processes']).default('memory'),
    )
    .addOption(
      new Option('--network <profile>', 'a named network (lan, wan, home, …) or RATE,RTT to slow the links down to').argParser(
        parseNetwork,
      ),
    )
    .addOption(new Option('--batch <n>', 'pictures that share their messages').argParser(wholeNumber(1, 64)).default(1));
}

async function runPictures(task: Task, path: string, images: readonly string[], options: RunOptions): Promise<void> {
  const source = await findModel(path, options);
  const pictures = await openPictures(images, options, task.output, source.description);
  const model = await openModel(source, options, task, await openCompute(task, options.threads), pictures);
  const report = await runPrivately(task, model, pictures, options);
  task.output.result(
    {
      suite: options.suite,
      parties: options.parties,
      batch: options.batch,
      calibratedOn: model.summary.calibratedOn,
      plaintext: model.plaintextKind,
      ...report,
    },
    () => formatRun(report, pictures.classes ?? model.compiled.description.classes),
  );
}
