// tessera server: the model owner, until Ctrl-C.
import type { Command } from 'commander';
import { Option } from 'commander';
import { defaultPreparedBytes } from '../../party/server.js';
import { openCompute } from '../compute.js';
import { explain, hostServer, parseListenAddress, readPem, readTls } from '../hosting.js';
import { checkMemory } from '../memory.js';
import { findModel, openModel } from '../model.js';
import { createCommand, type ModelOptions, wholeNumber, withCompilation, withPlan } from '../options.js';
import { openPictures } from '../pictures.js';
import { type PlanOptions, planModel } from '../planning.js';
import { perform, untilInterrupted } from '../task.js';
import { type ListenOptions, limitsOf, withListening } from './provider.js';

interface ServerOptions extends ListenOptions, ModelOptions, Pick<PlanOptions, 'network' | 'plan'> {
  readonly provider: string;
  readonly ca?: string;
  readonly prepareBytes: number;
}

export function serverCommand(): Command {
  const example = 'tessera server net --listen 0.0.0.0:7001 --provider ws://helper.example:7002';
  return withPlan(withCompilation(withListening(createCommand('server', 'Serve a model to clients who keep their pictures.', example))))
    .argument('<model>', 'compiled model, or ONNX file')
    .requiredOption('--provider <url>', 'where the helper party listens: ws://… or wss://…')
    .option('--ca <file>', 'certificate (PEM) to trust at the provider')
    .addOption(
      new Option('--prepare-bytes <n>', 'material that a session may have ready for inferences to come; a request beyond it waits')
        .argParser(wholeNumber(1))
        .default(defaultPreparedBytes),
    )
    .action((path: string, options: ServerOptions) =>
      perform(options, async (task) => {
        const { output, atEnd, signal } = task;
        const address = parseListenAddress(options.listen);
        const compute = await openCompute(task, options.threads);
        const source = await findModel(path, options);
        const pictures =
          options.calibrate === undefined || source.onnx === undefined
            ? undefined
            : await openPictures([options.calibrate], {}, output, source.description);
        const opened = await openModel(source, options, task, compute, pictures, 'calibrate');
        const { compiled } = await planModel(opened, options, source.stored !== undefined, task);
        checkMemory(compiled.program, 'masked', 1, ['server']);
        const listener = await hostServer({
          compute,
          ...address,
          ...limitsOf(options),
          prepareBytes: options.prepareBytes,
          ...(await readTls(options.cert, options.key)),
          model: compiled,
          providerUrl: options.provider,
          ...(options.ca === undefined ? {} : { ca: await readPem(options.ca) }),
          events: {
            answered: ({ inference, batch, seconds }) =>
              output.note(`inference ${inference}: ${batch} answered in ${seconds.online.toFixed(3)} s`),
            ended: (client, error) => output.note(`${client}: ${error === undefined ? 'left' : explain(error)}`),
          },
        });
        atEnd(() => listener.close('the server is shutting down'));
        const { name } = compiled.description;
        output.result(
          { listening: listener.url, model: name, hash: compiled.hash },
          () => `${name} on ${listener.url}, program ${compiled.hash}`,
        );
        await untilInterrupted(signal);
      }),
    );
}
