// Flags that several commands share, and how their values are read.
import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../errors.js';
import { suites } from '../party/session.js';
import { defaultLimits } from '../wire/limits.js';
import { parseNetwork } from '../wire/profiles.js';

/** Values of the flags every command takes. */
export interface CommonOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly threads: number;
}

/** Values of the flags of commands that take a model, which may have to be compiled first. */
export interface ModelOptions extends CommonOptions {
  readonly data?: string;
  readonly limit?: number;
  readonly calibrate?: string;
  readonly preprocess?: string;
  readonly spec?: string;
  /** Bits of the ring, or the fewest that reach `agreement`; by default those the suite prefers. */
  readonly ring?: number | 'auto';
  /** Share of calibration pictures for which `auto` has to give float's label. */
  readonly agreement?: number;
  readonly suite?: string;
  /** Linear layers a value comes through between two truncations. */
  readonly truncateEvery?: number;
  readonly seed: number;
  /** False with --no-cache. */
  readonly cache: boolean;
}

/** Reads a whole number of at least `least`. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
      throw new InvalidArgumentError(`It has to be a whole number ${range}.`);
    }
    return value;
  };
}

/** Reads a share above 0 and up to 1, or a percentage. */
export function share(text: string): number {
  const value = text.trim().endsWith('%') ? Number(text.trim().slice(0, -1)) / 100 : Number(text);
  if (text.trim() === '' || !(value > 0 && value <= 1)) throw new InvalidArgumentError('It has to be a share like 0.99, or 99%.');
  return value;
}

/** Reads a number of seconds above zero. */
export function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value <= 1e6)) throw new InvalidArgumentError('It has to be a number of seconds above zero.');
  return value;
}

/** The flag that says how long a party waits for another. */
export function waitOption(): Option {
  const { waitSeconds } = defaultLimits;
  return new Option('--wait-seconds <s>', 'give another party up that does not send what is due for so long')
    .argParser(seconds)
    .default(waitSeconds);
}

/** A command with the flags every command takes, and an example at the end of its help. */
export function createCommand(name: string, summary: string, example: string): Command {
  return new Command(name)
    .description(summary)
    .option('--json', 'print one JSON object on standard output and nothing else there', false)
    .option('--quiet', 'print no progress and no remarks', false)
    .addOption(new Option('--threads <n>', 'threads to compute with').argParser(wholeNumber(1, 256)).default(availableParallelism()))
    .addHelpText('after', `\nExample:\n  $ ${example}`);
}

/** Adds the flags that name pictures and say how they become a network's input. */
export function withPictures(command: Command): Command {
  return command
    .option('--data <path>', 'pictures: a file, a folder, or a dataset descriptor')
    .addOption(new Option('--limit <n>', 'use at most so many pictures').argParser(wholeNumber(1)))
    .option('--preprocess <descriptor>', 'preprocessing (and classes) for pictures that state none');
}

/** Ways of the securenn suites to do a part, by flag; those that need a suite of their own have its name. */
const ways = {
  linear: { reusable: undefined, beaver: 'securenn-beaver' },
  truncation: { local: undefined, exact: 'securenn-exact' },
} as const;

/** Adds --suite, and two flags that name the variants of securenn. */
export function withSuite(command: Command): Command {
  return command
    .addOption(new Option('--suite <name>', 'protocol suite').choices(Object.keys(suites)).default('masked'))
    .addOption(
      new Option('--linear <way>', 'how securenn masks weights: once a session, or anew for every inference').choices(
        Object.keys(ways.linear),
      ),
    )
    .addOption(
      new Option('--truncation <way>', 'how securenn truncates: with rare failures, or by messages').choices(Object.keys(ways.truncation)),
    )
    .hook('preAction', (_, action) => void action.setOptionValue('suite', namedSuite(action.opts())));
}

/** The suite that --suite, --linear and --truncation name together. Throws UsageError where there is none. */
function namedSuite({ suite, linear, truncation }: { suite: string; linear?: string; truncation?: string }): string {
  if (linear === undefined && truncation === undefined) return suite;
  const named = [ways.linear[linear as 'reusable' | 'beaver'], ways.truncation[truncation as 'local' | 'exact']];
  const variants = named.filter((name) => name !== undefined);
  if (suite === 'securenn' && variants.length < 2) return variants[0] ?? suite;
  const flags = [linear && `--linear ${linear}`, truncation && `--truncation ${truncation}`].filter(Boolean).join(' ');
  throw new UsageError(`--suite ${suite} does not go with ${flags}`, {
    code: 'usage',
    where: '--suite',
    hint: 'Give --suite securenn with one of --linear beaver and --truncation exact.',
  });
}

/** Adds --plan, and with `network` the flag that says for which network: comparisons are chosen for it (planning.ts). */
export function withPlan(command: Command, { network = true } = {}): Command {
  if (network)
    command.addOption(
      new Option('--network <profile>', 'a named network (lan, wan, home, …) or RATE,RTT to choose the plan for').argParser(parseNetwork),
    );
  return command.addOption(
    new Option(
      '--plan <aim>',
      'what comparisons are chosen for where an ONNX file is compiled and --network given: the least time in all, online, or the fewest bytes',
    )
      .choices(['all', 'online', 'bytes'])
      .default('all'),
  );
}

/** Adds the flags that say how an ONNX file is compiled; without --spec for a command that makes one. */
export function withCompilation(command: Command, { spec = true } = {}): Command {
  command.option('--calibrate <path>', 'pictures that set the fixed-point scales; best not those that are evaluated');
  if (spec) command.option('--spec <file>', 'block-ReLU spec to compile with');
  const bits = wholeNumber(16, 64);
  const ring = new Option(
    '--ring <bits>',
    `bits of the ring, 16 to 64${spec ? ', or auto' : ''} (default: what the spec asks for, at least 32, or 64 where --suite is a securenn one)`,
  );
  command.addOption(ring.argParser((text: string) => (spec && text === 'auto' ? text : bits(text))));
  if (spec)
    command.addOption(
      new Option('--agreement <share>', 'with --ring auto: the narrowest ring that gives float’s label for so many calibration pictures')
        .argParser(share)
        .default(0.99),
    );
  return command
    .addOption(new Option('--truncate-every <n>', 'truncate only after n linear layers (with --ring 64)').argParser(wholeNumber(1, 3)))
    .addOption(new Option('--seed <n>', 'seed of generated calibration pictures').argParser(wholeNumber(0, 2 ** 32 - 1)).default(1))
    .option('--no-cache', 'compile anew, and keep nothing');
}
