// tessera run: private inference with all three parties on this machine, beside the plaintext answer.
import type { Command } from 'commander';
import { Option } from 'commander';
import { UsageError } from '../../errors.js';
import { type NetworkProfile, parseNetwork } from '../../wire/profiles.js';
import { openCompute } from '../compute.js';
import { writeWhole } from '../files.js';
import { findModel, openModel } from '../model.js';
import { createCommand, type ModelOptions, wholeNumber, withCompilation, withPictures, withPlan, withSuite } from '../options.js';
import { openPictures } from '../pictures.js';
import { describePlan, type PlanOptions, planModel } from '../planning.js';
import { type LocalPace, runDry, runPrivately } from '../private-run.js';
import { formatDry, formatRun } from '../run-report.js';
import { perform, type Task } from '../task.js';
import { chromeTrace } from '../trace.js';

export interface PartyOptions extends ModelOptions {
  readonly suite: string;
  readonly parties: 'memory' | 'processes';
  readonly network?: NetworkProfile;
  readonly plan: PlanOptions['plan'];
  readonly batch: number;
}

interface RunOptions extends Omit<PartyOptions, 'network'> {
  readonly network?: NetworkProfile | 'infinite';
  readonly dry: boolean;
  readonly trace?: string;
}

export function runCommand(): Command {
  const example = 'tessera run net.onnx cat.png --preprocess net.json --parties processes';
  const command = withCompilation(withPictures(createCommand('run', 'Private inference, all three parties on this machine.', example)));
  return withParties(command, { infinite: true })
    .option('--dry', 'the same messages with zeros in them, and nothing computed: what the network alone takes', false)
    .option('--trace <file>', 'write what each party did when, for chrome://tracing or ui.perfetto.dev')
    .argument('<model>', 'ONNX file or compiled model')
    .argument('[image...]', 'pictures')
    .action((path: string, images: string[], options: RunOptions) => perform(options, (task) => runPictures(task, path, images, options)));
}

/**
 * Adds the flags that say how the three parties run.
 * @param infinite Whether a network may be infinite: that nothing goes over sockets.
 */
export function withParties(command: Command, { infinite = false } = {}): Command {
  const network = `a named network (lan, wan, home, …) or RATE,RTT to slow the links down to${infinite ? '; infinite: no sockets' : ''}`;
  const parse = (text: string) => (infinite && text === 'infinite' ? text : parseNetwork(text));
  return withPlan(withSuite(command), { network: false })
    .addOption(
      new Option('--parties <where>', 'in one process or in three with real sockets').choices(['memory', 'processes']).default('memory'),
    )
    .addOption(new Option('--network <profile>', network).argParser(parse))
    .addOption(new Option('--batch <n>', 'pictures that share their messages').argParser(wholeNumber(1, 64)).default(1));
}

async function runPictures(task: Task, path: string, images: readonly string[], options: RunOptions): Promise<void> {
  const local = localOptions(task, options);
  const source = await findModel(path, options);
  const named = images.length > 0 || options.data !== undefined || !options.dry;
  const pictures = named ? await openPictures(images, options, task.output, source.description) : undefined;
  const opened = await openModel(source, options, task, await openCompute(task, options.threads), pictures);
  const model = await planModel(opened, options, source.stored !== undefined, task);
  if (model.summary.plan !== undefined && model !== opened) task.output.note(describePlan(model.summary.plan));
  const about = { suite: options.suite, parties: local.parties, batch: options.batch, calibratedOn: model.summary.calibratedOn };
  if (options.dry || pictures === undefined) {
    const report = await runDry(task, model, pictures?.dataset.count ?? options.batch, local);
    return task.output.result({ ...about, dry: true, ...report }, () => formatDry(report));
  }
  const report = await runPrivately(task, model, pictures, local);
  task.output.result({ ...about, plaintext: model.plaintextKind, ...report }, () =>
    formatRun(report, pictures.classes ?? model.compiled.description.classes),
  );
}

/** Where the parties run. Throws UsageError for three processes with nothing between them. */
function localOptions(task: Task, { network, parties, ...options }: RunOptions): LocalPace {
  if (network === 'infinite' && parties === 'processes') {
    throw new UsageError('--network infinite keeps all parties in one process', {
      code: 'usage',
      where: '--parties',
      hint: 'Leave --parties processes out, or give --network none.',
    });
  }
  const shaped = network === undefined || network === 'infinite' ? {} : { network };
  const { suite, threads, batch, trace } = options;
  return {
    suite,
    threads,
    batch,
    parties,
    ...shaped,
    timelines: true,
    onEnd: async (session) => {
      const timelines = await session.timelines();
      if (trace === undefined || timelines === undefined) return;
      await writeWhole(trace, JSON.stringify(chromeTrace(timelines, session.program)));
      task.output.note(`${trace}: open it in chrome://tracing or ui.perfetto.dev`);
    },
  };
}
