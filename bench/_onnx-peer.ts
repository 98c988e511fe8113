// A process that runs single convolutions in ONNX Runtime: bench/kernels.ts starts one for each runtime and number of threads, because a
// runtime's threads are set once a process. Argument: node or web, then the threads. Messages: a case's index in, seconds out.
import { encodeModel, type OnnxAttribute, type OnnxTensor } from '../src/model/protobuf.js';
import { type KernelCase, kernelCases } from './_kernel-cases.js';
import { loadOnnxRuntime, type OnnxRuntime } from './_onnx-runtime.js';

const [runtime, threads] = [process.argv[2]!, Number(process.argv[3])];

const ints = (name: string, values: number[]): OnnxAttribute => ({ name, floats: [], ints: values, type: 7 });

function modelOf({ geometry: g }: KernelCase): Uint8Array {
  const dims = [g.outputChannels, g.inputChannels / g.groups, g.kernelHeight, g.kernelWidth];
  const weights = new Float32Array(dims.reduce((a, b) => a * b, 1)).map((_, i) => ((i * 7919) % 1000) / 1000 - 0.5);
  const tensor: OnnxTensor = {
    ...{ name: 'w', dims, dataType: 1, rawData: new Uint8Array(weights.buffer) },
    ...{ floatData: [], int32Data: [], int64Data: [], doubleData: [], externalData: [] },
  };
  const dim = [1, g.inputChannels, g.inputHeight, g.inputWidth].map((value) => ({ value }));
  const attribute = [
    ints('strides', [g.strideY, g.strideX]),
    ints('pads', [g.padTop, g.padLeft, g.padTop, g.padLeft]),
    { name: 'group', i: g.groups, floats: [], ints: [], type: 2 },
  ];
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 13 }],
    graph: {
      name: 'conv',
      node: [{ opType: 'Conv', input: ['x', 'w'], output: ['y'], attribute }],
      initializer: [tensor],
      input: [{ name: 'x', type: { tensorType: { elemType: 1, shape: { dim } } } }],
      output: [{ name: 'y', type: { tensorType: { elemType: 1 } } }],
    },
  });
}

/** Seconds of the fastest of several runs. */
async function measure({ Tensor, open }: OnnxRuntime, which: KernelCase): Promise<number> {
  const g = which.geometry;
  const session = await open(modelOf(which));
  const values = new Float32Array(g.inputChannels * g.inputHeight * g.inputWidth).map((_, i) => (i % 255) / 255);
  const feeds = { x: new Tensor('float32', values, [1, g.inputChannels, g.inputHeight, g.inputWidth]) };
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + 300;
  for (let i = 0; i < 5 || (performance.now() < end && i < 200); i++) {
    const start = performance.now();
    await session.run(feeds);
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  await session.release();
  return best;
}

const loaded = await loadOnnxRuntime(runtime, threads);
process.on('message', async (index: number) => {
  try {
    process.send!({ seconds: await measure(loaded, kernelCases[index]!) });
  } catch (error) {
    process.send!({ reason: String(error) });
  }
});
process.send!({ ready: true });
