// ONNX Runtime as benchmarks start it: native or WebAssembly, with so many threads, which are set once a process.
type Runtime = Pick<typeof import('onnxruntime-node'), 'InferenceSession' | 'Tensor'>;
type Session = Awaited<ReturnType<Runtime['InferenceSession']['create']>>;

export interface OnnxRuntime {
  readonly Tensor: Runtime['Tensor'];
  open(model: Uint8Array): Promise<Session>;
}

async function load(name: string, threads: number): Promise<Runtime> {
  if (name === 'node') return import('onnxruntime-node');
  const web = await import('onnxruntime-web');
  web.env.wasm.numThreads = threads;
  return web as unknown as Runtime;
}

/** Loads `node` or `web`. */
export async function loadOnnxRuntime(name: string, threads: number): Promise<OnnxRuntime> {
  const { InferenceSession, Tensor } = await load(name, threads);
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, executionProviders: [name === 'node' ? 'cpu' : 'wasm'] };
  return { Tensor, open: (model) => InferenceSession.create(model, { ...options, logSeverityLevel: 3 }) };
}
