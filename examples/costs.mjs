// What a model will cost, layer by layer, before anything runs:  node examples/costs.mjs
import { readFile } from 'node:fs/promises';
import { generatePictures } from 'tessera/data/generated';
import { plainPreprocessing } from 'tessera/data/preprocess';
import { createNodeCompute } from 'tessera/kernel/pool.node';
import { compileGraph } from 'tessera/model/compile';
import { readGraph } from 'tessera/model/onnx';
import { costEnvironment, estimate } from 'tessera/protocol/estimate';
import { masked } from 'tessera/protocol/masked/suite';
import { operationOf } from 'tessera/protocol/suite';

const compute = await createNodeCompute();
const graph = readGraph(await readFile(new URL('../models/cifar10-resnet20.onnx', import.meta.url)));
const images = generatePictures(graph.input.shape, plainPreprocessing(3), 4, 1);
const { program } = await compileGraph(compute, graph, { images, count: 4, marginBits: 2 });
await compute.close();

const environment = costEnvironment(program, 1);
for (const step of program.steps) {
  const bytes = operationOf(masked, step)
    .messages(step, environment)
    .reduce((sum, message) => sum + message.bytes, 0);
  if (bytes > 0) console.log(`${step.name} (${step.kind}): ${bytes} bytes`);
}
const { offline, online } = estimate(program, masked);
console.log(`in all ${offline.bytes} bytes before the picture, ${online.bytes} with it, ${online.rounds} messages in a row`);
