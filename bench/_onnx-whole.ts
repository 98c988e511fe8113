// A process that runs a whole network in ONNX Runtime and prints the seconds of the median run: bench/imagenet.ts starts one for each runtime,
// because a runtime's threads are set once a process. Arguments: node or web, the threads, the ONNX file,
// the shape of a picture as 3x224x224.
import { readFileSync } from 'node:fs';
import { loadOnnxRuntime } from './_onnx-runtime.js';
import { median } from './_parties.js';

const [runtime, threads, path] = [process.argv[2]!, Number(process.argv[3]), process.argv[4]!];
const shape = process.argv[5]!.split('x').map(Number);

const { Tensor, open } = await loadOnnxRuntime(runtime, threads);
const session = await open(new Uint8Array(readFileSync(path)));
const [name] = session.inputNames;
const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).map((_, i) => (i % 255) / 255);
const feeds = { [name!]: new Tensor('float32', values, [1, ...shape]) };
await session.run(feeds);
const seconds: number[] = [];
for (const end = performance.now() + 1500; performance.now() < end || seconds.length < 3; ) {
  const start = performance.now();
  await session.run(feeds);
  seconds.push((performance.now() - start) / 1000);
}
process.stdout.write(JSON.stringify({ seconds: median(seconds) }));
process.exit();
