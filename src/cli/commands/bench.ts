// tessera bench: the programs behind the tables of the documentation, each in a process of its own.
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Command, Option } from 'commander';
import { TesseraError, UsageError } from '../../errors.js';
import { type CommonOptions, createCommand, wholeNumber } from '../options.js';
import { perform } from '../task.js';

/** Compiled benchmark programs: files of bench/ with a name of their own, not helpers (_*.js). */
const folder = fileURLToPath(new URL('../../../bench', import.meta.url));

/** What bounds a benchmark that takes long. A benchmark takes of it what it knows. */
interface BenchFlags extends CommonOptions {
  readonly runs?: number;
  readonly case?: string;
  readonly suite?: string;
  readonly network?: string;
  readonly ring?: string;
  readonly elements?: string;
  readonly size?: string;
  readonly plots?: string;
  readonly against?: readonly string[];
  readonly kept?: string;
  readonly minutes?: number;
  readonly pictures?: number;
  readonly epochs?: number;
  readonly budgets?: string;
}

export function benchCommand(): Command {
  return createCommand('bench', 'Print the tables of the documentation.', 'tessera bench kernels relu')
    .argument('[name...]', 'benchmarks to run; all when none is named')
    .addOption(new Option('--runs <n>', 'runs of each case, of which the median counts').argParser(wholeNumber(1)))
    .option('--case <text>', 'cases with that in their name alone')
    .option('--suite <list>', 'suites, with commas between')
    .option('--network <list>', 'networks, with blanks between')
    .option('--ring <list>', 'bits of rings, with commas between')
    .option('--elements <list>', 'numbers of elements, with commas between')
    .addOption(new Option('--size <kind>', 'of pictures, where networks take any').choices(['small', 'full']))
    .option('--plots <folder>', 'also draw what is a function of something, as SVG')
    .option('--kept <folder>', 'results that take long, kept from run to run')
    .addOption(new Option('--minutes <n>', 'begin no training after so many; 0 prints what there is').argParser(wholeNumber(0)))
    .addOption(new Option('--pictures <n>', 'training pictures').argParser(wholeNumber(64)))
    .addOption(new Option('--epochs <n>', 'of each training').argParser(wholeNumber(1)))
    .option('--budgets <list>', 'shares of the comparisons in per cent, with commas between')
    .option('--against <name=dir...>', 'measure a peer in the same run: porthos=DIR or mp-spdz=DIR, where DIR has a built copy')
    .action((names: string[], options: BenchFlags) =>
      perform(options, async ({ output, atEnd }) => {
        const known = (await readdir(folder).catch(() => [])).filter((file) => /^[a-z].*\.js$/.test(file)).map((file) => file.slice(0, -3));
        const unknown = names.find((name) => !known.includes(name));
        if (known.length === 0 || unknown !== undefined) {
          const hint = known.length === 0 ? 'Benchmarks are part of the repository, not of the package.' : `There are ${known.join(', ')}.`;
          throw new UsageError(`there is no benchmark ${unknown ?? ''}`, { code: 'usage', where: unknown ?? 'bench', hint });
        }
        const rows: unknown[] = [];
        // What trains for hours does so where it is named; among all the others it prints what it has kept.
        const settings = names.length > 0 ? options : { minutes: 0, ...options };
        for (const name of names.length > 0 ? names : known) {
          const found = await runBenchmark(name, settings, (end) => atEnd(end));
          rows.push(...found);
        }
        if (options.json) output.result({ rows }, () => '');
      }),
    );
}

/** Runs one program; with --json it prints an array of rows, else its table goes straight to the terminal. */
function runBenchmark(name: string, options: BenchFlags, atEnd: (end: () => void) => void): Promise<unknown[]> {
  const known = [
    'runs',
    'case',
    'suite',
    'network',
    'ring',
    'elements',
    'size',
    'plots',
    'kept',
    'minutes',
    'pictures',
    'epochs',
    'budgets',
  ] as const;
  const given = known.flatMap((flag) => (options[flag] === undefined ? [] : [`--${flag}=${options[flag]}`]));
  const peers = (options.against ?? []).map((peer) => `--against=${peer}`);
  const flags = [`--threads=${options.threads}`, ...(options.json ? ['--json'] : []), ...given, ...peers];
  const child = spawn(process.execPath, [join(folder, `${name}.js`), ...flags], {
    stdio: ['ignore', options.json ? 'pipe' : 'inherit', 'inherit'],
  });
  atEnd(() => void child.kill());
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      if (status === 0) return resolve(options.json ? (JSON.parse(text) as unknown[]) : []);
      reject(
        new TesseraError(`the benchmark ${name} ended with status ${status}`, {
          code: 'bench-failed',
          where: name,
          hint: 'See its own message above.',
        }),
      );
    });
  });
}
