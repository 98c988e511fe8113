// Private inference with all three parties in this process:  node examples/one-process.mjs
import { readFile } from 'node:fs/promises';
import { loadDataset, readPreprocessing } from 'tessera/data/dataset.node';
import { createNodeCompute } from 'tessera/kernel/pool.node';
import { compileGraph } from 'tessera/model/compile';
import { readGraph } from 'tessera/model/onnx';
import { openLocalSession } from 'tessera/party/local';

const models = new URL('../models/', import.meta.url);
const { preprocessing, classes } = await readPreprocessing(new URL('cifar10-resnet20.json', models).pathname);
const pictures = await loadDataset(new URL('pictures', models).pathname, { preprocessing });
const images = await pictures.read(0, pictures.count);

const compute = await createNodeCompute();
const graph = readGraph(await readFile(new URL('cifar10-resnet20.onnx', models)));
const { program, weights } = await compileGraph(compute, graph, { images, count: pictures.count });
const session = await openLocalSession({ compute, program, weights });
const { outputs } = await session.client.infer(images, pictures.count);
for (const [i, logits] of outputs.entries()) console.log(pictures.names[i], classes?.[logits.indexOf(Math.max(...logits))]);
await session.close();
await compute.close();
