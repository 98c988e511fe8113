// The model owner:  node examples/server.mjs [PORT] [PROVIDER-URL]
import { readFile } from 'node:fs/promises';
import { loadDataset, readPreprocessing } from 'tessera/data/dataset.node';
import { createNodeCompute } from 'tessera/kernel/pool.node';
import { compileGraph } from 'tessera/model/compile';
import { readGraph } from 'tessera/model/onnx';
import { serverLimits } from 'tessera/party/limits';
import { createServer, loadModel } from 'tessera/party/server';
import { connect, listen } from 'tessera/wire/websocket.node';

const [port = '7001', providerUrl = 'ws://127.0.0.1:7002'] = process.argv.slice(2);
const models = new URL('../models/', import.meta.url);
const { preprocessing, classes } = await readPreprocessing(new URL('cifar10-resnet20.json', models).pathname);
const pictures = await loadDataset(new URL('pictures', models).pathname, { preprocessing });

const compute = await createNodeCompute();
const graph = readGraph(await readFile(new URL('cifar10-resnet20.onnx', models)));
const calibration = { images: await pictures.read(0, pictures.count), count: pictures.count };
const { program, weights } = await compileGraph(compute, graph, calibration);

// What everybody may know beside the program: how pictures become its input, and what its outputs are called.
const info = { name: 'CIFAR-10 ResNet-20', preprocess: preprocessing, classes: [...(classes ?? [])] };
const model = await loadModel(compute, program, weights, /** @type {any} */ (info));
const server = createServer({ compute, model, connectProvider: () => connect(providerUrl) });
const listener = await listen({
  host: '127.0.0.1',
  port: Number(port),
  limits: serverLimits(program),
  onConnection: (channel) => server.serve(channel).catch((error) => console.error(error.message)),
});
console.log(`server on ${listener.url}`);
