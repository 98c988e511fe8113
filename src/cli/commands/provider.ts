// tessera provider: the helper party, until Ctrl-C.
import type { Command } from 'commander';
import { openCompute } from '../compute.js';
import { explain, hostProvider, parseListenAddress, readTls } from '../hosting.js';
import { type CommonOptions, createCommand } from '../options.js';
import { perform, untilInterrupted } from '../task.js';

export interface ListenOptions extends CommonOptions {
  readonly listen: string;
  readonly cert?: string;
  readonly key?: string;
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
          ...(await readTls(options.cert, options.key)),
          events: {
            answered: ({ inference, batch, seconds }) =>
              output.note(`inference ${inference}: dealt for ${batch} in ${seconds.offline.toFixed(3)} s`),
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
    .option('--key <file>', 'private key (PEM)');
}
