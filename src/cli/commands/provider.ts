// tessera provider: the helper party, until Ctrl-C.
import type { Command } from 'commander';
import { Option } from 'commander';
import { openCompute } from '../compute.js';
import { explain, hostProvider, parseListenAddress, readTls } from '../hosting.js';
import { type CommonOptions, createCommand, seconds, waitOption, wholeNumber } from '../options.js';
import { perform, untilInterrupted } from '../task.js';

export interface ListenOptions extends CommonOptions {
  readonly listen: string;
  readonly cert?: string;
  readonly key?: string;
  readonly waitSeconds: number;
  readonly idleSeconds: number;
  readonly maxBatch: number;
}

export function providerCommand(): Command {
  const example = 'tessera provider --listen 0.0.0.0:7002';
  return withListening(createCommand('provider', 'Serve as the helper party, which sees neither pictures nor weights.', example)).action(
    (options: ListenOptions) =>
      perform(options, async ({ output, atEnd, signal }) => {
        const compute = await openCompute({ output, atEnd, signal }, options.threads);
        const listener = await hostProvider({
          compute,
          ...parseListenAddress(options.listen),
          ...limitsOf(options),
          ...(await readTls(options.cert, options.key)),
          events: {
            answered: ({ inference, batch, seconds: taken }) =>
              output.note(`inference ${inference}: dealt for ${batch} in ${taken.offline.toFixed(3)} s`),
            ended: (address, error) => output.note(`${address}: ${error === undefined ? 'left' : explain(error)}`),
          },
        });
        atEnd(() => listener.close('the provider is shutting down'));
        output.result({ listening: listener.url }, () => `provider on ${listener.url}`);
        await untilInterrupted(signal);
      }),
  );
}

/** Adds the flags of a party that listens. */
export function withListening(command: Command): Command {
  return command
    .requiredOption('--listen <address>', 'HOST:PORT to listen on, or PORT for all interfaces')
    .option('--cert <file>', 'certificate chain (PEM); with --key, connections are encrypted')
    .option('--key <file>', 'private key (PEM)')
    .addOption(waitOption())
    .addOption(new Option('--idle-seconds <s>', 'end a session that rests for so long').argParser(seconds).default(600))
    .addOption(new Option('--max-batch <n>', 'most pictures a client may put into one batch').argParser(wholeNumber(1, 4096)).default(64));
}

/** What a listening party allows its peers. */
export const limitsOf = ({ waitSeconds, idleSeconds, maxBatch }: ListenOptions) => ({ waitSeconds, idleSeconds, maxBatch });
