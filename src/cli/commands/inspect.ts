// tessera inspect: what is in an ONNX file, what of it runs, what does not.
import type { Command } from 'commander';
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
    .action((path: string, options: CommonOptions) =>
      perform(options, async ({ output }) => {
        const inspection = inspectModel((await readOnnx(path)).read());
        output.result(inspection, () => describe(inspection));
      }),
    );
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
