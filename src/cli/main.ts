#!/usr/bin/env node
// The tessera command: finds the sub-command, maps errors to exit statuses, ends cleanly on Ctrl-C.
import { Command, CommanderError } from 'commander';
import { UsageError } from '../errors.js';
import { benchCommand } from './commands/bench.js';
import { compileCommand } from './commands/compile.js';
import { demoCommand } from './commands/demo.js';
import { distortCommand } from './commands/distort.js';
import { estimateCommand } from './commands/estimate.js';
import { evaluateCommand } from './commands/evaluate.js';
import { finetuneCommand } from './commands/finetune.js';
import { inferCommand } from './commands/infer.js';
import { inspectCommand } from './commands/inspect.js';
import { optimizeCommand } from './commands/optimize.js';
import { providerCommand } from './commands/provider.js';
import { runCommand } from './commands/run.js';
import { serverCommand } from './commands/server.js';
import { solveCommand } from './commands/solve.js';
import { trainCommand } from './commands/train.js';
import { exitStatusOf, writeError } from './output.js';
import { interruptedStatus, watchInterrupts } from './task.js';
import { packageVersion } from './version.js';

const commands = [
  demoCommand,
  inspectCommand,
  compileCommand,
  estimateCommand,
  runCommand,
  providerCommand,
  serverCommand,
  inferCommand,
  evaluateCommand,
  distortCommand,
  solveCommand,
  optimizeCommand,
  finetuneCommand,
  trainCommand,
  benchCommand,
];

function createProgram(): Command {
  const program = new Command('tessera')
    .description('Private CNN inference: the server never sees the image, the client never sees the weights.')
    .version(packageVersion())
    .helpCommand(false)
    .addHelpText('after', '\nExample:\n  $ tessera demo\n\nEvery command has --help with an example.');
  for (const create of commands) program.addCommand(create());
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ writeErr: () => {} });
  }
  return program;
}

/** Runs the command that `args` (without node and script) name. Returns the exit status. */
async function main(args: readonly string[]): Promise<number> {
  const json = args.includes('--json');
  watchInterrupts();
  try {
    const program = createProgram();
    if (args.length === 0) throw new UsageError('no command given', { code: 'usage', hint: 'Run tessera --help.' });
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    const failure = error instanceof CommanderError ? usageError(error, args) : error;
    if (failure === undefined) return 0;
    const interrupted = interruptedStatus();
    if (interrupted !== undefined) return interrupted;
    writeError(failure, json);
    return exitStatusOf(failure);
  }
}

/** Commander's own complaints as UsageErrors; undefined for --help and --version, which are no errors. */
function usageError(error: CommanderError, args: readonly string[]): UsageError | undefined {
  if (error.exitCode === 0) return undefined;
  const command = args.find((arg) => !arg.startsWith('-'));
  const known = command !== undefined && error.code !== 'commander.unknownCommand';
  return new UsageError(error.message.replace(/^error: |\.$/g, ''), {
    code: 'usage',
    hint: `Run tessera ${known ? `${command} ` : ''}--help.`,
  });
}

// A reader that has seen enough (`tessera inspect … | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await main(process.argv.slice(2));
// Threads or sockets that a failed command left open must not keep the process alive; what was written has to be out first.
process.stdout.write('', () => process.stderr.write('', () => process.exit()));
