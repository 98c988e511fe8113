// tessera inspect: what is in an ONNX file, what of it runs, what does not.
import { type Command, InvalidArgumentError } from 'commander';
import type { Inspection } from '../../model/inspect.js';
import { inspectModel } from '../../model/inspect.js';
import { formatCount, formatTable } from '../format.js';
import { readOnnx } from '../model.js';
import { type CommonOptions, createCommand } from '../options.js';
import { perform } from '../task.js';

export function inspectCommand(): Command {
  return createCommand(
    'inspect',
    'Show what is in an ONNX file, what runs, and what does not.',
    'tessera inspect models/cifar10-resnet20.onnx',
  )
    .argument('<model>', 'ONNX file')
    .option('--shape <CxHxW>', 'shape of a picture, for models that leave it open: 3x224x224', parseShape)
    .action((path: string, options: CommonOptions & { readonly shape?: readonly number[] }) =>
      perform(options, async ({ output }) => {
        const inspection = inspectModel((await readOnnx(path)).read(options.shape === undefined ? {} : { inputShape: options.shape }));
        output.result(inspection, () => describe(inspection));
      }),
    );
}

/** 3x224x224 as numbers. */
function parseShape(text: string): readonly number[] {
  const shape = text.split(/[x×]/).map(Number);
  if (shape.every((d) => Number.isSafeInteger(d) && d >= 1)) return shape;
  throw new InvalidArgumentError('channels, height and width, as in 3x224x224');
}

function describe(inspection: Inspection): string {
  const { supported, unsupported, macs, parameters, drelus, comparisons, layers } = inspection;
  const counts = [
    ['multiply-adds', formatCount(macs)],
    ['parameters', formatCount(parameters)],
    ['ReLUs', formatCount(drelus)],
    ['comparisons', formatCount(comparisons)],
  ];
  const rows = layers.map((layer) => [
    layer.name,
    layer.kind,
    layer.shape.join('×'),
    layer.comparisons > 0 ? formatCount(layer.comparisons) : '',
  ]);
  const refused = unsupported.map(({ node, op, reason }) => `  ${node} (${op}): ${reason}`);
  return [
    formatTable([['layer', 'kind', 'shape', 'comparisons'], ...rows]),
    '',
    formatTable(counts),
    '',
    supported ? 'Every layer runs.' : `These do not run:\n${refused.join('\n')}`,
  ].join('\n');
}
