// tessera infer: the data owner, with server and provider on other hosts.
import type { Command } from 'commander';
import { Option } from 'commander';
import { readFileOrExplain } from '../../data/picture.node.js';
import { DataError, UsageError } from '../../errors.js';
import { decodeProgram, programHash } from '../../model/files.js';
import { readPem } from '../hosting.js';
import { type CommonOptions, createCommand, waitOption, wholeNumber, withPictures, withSuite } from '../options.js';
import { checkShape, openPictures, type PictureOptions } from '../pictures.js';
import { answerAll } from '../private-run.js';
import { formatRun } from '../run-report.js';
import { openRemote } from '../sessions.js';
import { perform } from '../task.js';

interface InferOptions extends CommonOptions, PictureOptions {
  readonly server: string;
  readonly provider: string;
  readonly suite: string;
  readonly batch: number;
  readonly ca?: string;
  readonly program?: string;
  readonly waitSeconds: number;
}

export function inferCommand(): Command {
  const example = 'tessera infer cat.png --server wss://model.example:7001 --provider wss://helper.example:7002';
  return withSuite(withPictures(createCommand('infer', 'Have pictures answered without showing them.', example)))
    .argument('[image...]', 'pictures')
    .requiredOption('--server <url>', 'where the model owner listens: ws://… or wss://…')
    .requiredOption('--provider <url>', 'where the helper party listens')
    .option('--ca <file>', 'certificate (PEM) to trust at both')
    .option('--program <file|hash>', 'the program that has to be served: program.bin, or its hash')
    .addOption(new Option('--batch <n>', 'pictures that share their messages').argParser(wholeNumber(1, 4096)).default(1))
    .addOption(waitOption())
    .action((images: string[], options: InferOptions) =>
      perform(options, async (task) => {
        const pinnedHash = options.program === undefined ? undefined : await hashOf(options.program);
        const session = await openRemote(
          {
            serverUrl: options.server,
            providerUrl: options.provider,
            suite: options.suite,
            threads: options.threads,
            waitSeconds: options.waitSeconds,
            ...(options.ca === undefined ? {} : { ca: await readPem(options.ca) }),
            ...(pinnedHash === undefined ? {} : { pinnedHash }),
          },
          task,
        );
        const pictures = await openPictures(images, options, task.output, session.description);
        checkShape(pictures.dataset, session.program.tensors[session.program.input]?.shape ?? []);
        const report = await answerAll(task, session, pictures.dataset, pictures.classes, options);
        task.output.result({ suite: options.suite, model: session.description.name, ...report }, () => formatRun(report, pictures.classes));
      }),
    );
}

/** The hash that --program pins: 64 hexadecimal digits, or those of a program.bin. */
async function hashOf(text: string): Promise<string> {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  try {
    return await programHash(await decodeProgram(await readFileOrExplain(text)));
  } catch (cause) {
    if (!(cause instanceof DataError) || cause.code !== 'no-such-file') throw cause;
    throw new UsageError(`--program ${text} is neither a hash nor a file`, {
      code: 'usage',
      where: '--program',
      hint: 'Give program.bin or its 64-digit hash.',
    });
  }
}
