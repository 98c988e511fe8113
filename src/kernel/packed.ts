// Packed weights and the convolutions that use them, for integers and floats alike. linear.ts and float.ts give it types.
import type { Compute, HeapArray } from './compute.js';
import type { ConvGeometry, PoolGeometry } from './geometry.js';
import { cut, cutTiled, denseRecord, isDepthwise, isWhole, mapRecord, simplify, tiled, tilesPay, weightCount } from './tiling.js';

/** Estimated nanoseconds of one multiply-add on one thread, a little high so that small layers run on workers. */
const macNanoseconds = 0.12;

/** Weights on the compute heap in the order their kernel reads them. */
export interface Packed<T extends HeapArray> {
  readonly geometry: ConvGeometry;
  /** Of the geometry the kernel sees (see `simplify`). */
  readonly simple: ConvGeometry;
  readonly depthwise: boolean;
  readonly values: T;
  readonly record: Int32Array;
  /** Of kernels of 3 x 3: their geometry for assembly/conv-points.ts, and tiles of an image. */
  readonly tiled?: { readonly record: Int32Array; readonly tiles: number };
  /** Of 64-bit words packed for a ring of 33 to 47 bits: its bits above 32. */
  readonly lowBits?: number;
}

/** How the names of a type's kernels end. */
export type ElementName = 'Words' | 'Floats';

export function onHeap(compute: Compute, values: readonly number[]): Int32Array {
  const words = compute.words(values.length);
  words.set(values);
  return words;
}

/** Packs weights [outputChannels, inputChannels / groups, kernelHeight, kernelWidth]. */
export async function pack<T extends Int32Array | Float32Array>(
  compute: Compute,
  geometry: ConvGeometry,
  weights: T,
  allocate: (length: number) => T,
): Promise<Packed<T>> {
  if (weights.length !== weightCount(geometry)) {
    throw new RangeError(`convolve: expected ${weightCount(geometry)} weights, got ${weights.length}`);
  }
  const depthwise = isDepthwise(geometry);
  const simple = depthwise ? geometry : simplify(geometry);
  if (depthwise) {
    const record = mapRecord(geometry, geometry.outputChannels / geometry.groups);
    const values = allocate(weights.length);
    values.set(weights);
    return { geometry, simple, depthwise, values, record: onHeap(compute, record) };
  }
  const record = denseRecord(simple);
  const k = weights.length / Math.max(1, simple.outputChannels);
  const values = allocate(simple.groups * Math.ceil(simple.outputChannels / simple.groups / 4) * 4 * k);
  const found = tiled(simple, values instanceof Int32Array ? 3 : 4);
  const packed = {
    ...{ geometry, simple, depthwise, values, record: onHeap(compute, record) },
    ...(found && { tiled: { record: onHeap(compute, found.record), tiles: found.tiles } }),
  };
  const onHeapAlready = weights.buffer === values.buffer;
  const flat = onHeapAlready ? weights : allocate(weights.length);
  if (!onHeapAlready) flat.set(weights);
  await repack(compute, packed, flat);
  if (!onHeapAlready) compute.free(flat);
  return packed;
}

/** Packs other weights, which lie on the heap, for the same geometry into the same memory. */
export async function repack<T extends Int32Array | Float32Array>(compute: Compute, packed: Packed<T>, weights: T): Promise<void> {
  const { simple, values, depthwise } = packed;
  expectLength('weights', weights.length, weightCount(packed.geometry));
  if (depthwise) {
    (values as Float32Array).set(weights as Float32Array);
    return;
  }
  const rows = simple.outputChannels / simple.groups;
  const k = weights.length / Math.max(1, simple.outputChannels);
  await compute.run('packRows', [values, weights, rows, k], simple.groups * Math.ceil(rows / 4), { costPerItem: k * 6 });
}

export interface ConvolveOptions<T> {
  /** One value per output channel. */
  readonly bias?: T;
  /** Added to the output, and of its size; may be the output itself. */
  readonly addend?: T;
}

export function expectLength(name: string, actual: number, expected: number): void {
  if (actual !== expected) throw new RangeError(`convolve: "${name}" expected ${expected} values, got ${actual}`);
}

/** output = bias + addend + weights * input, [batch, outputChannels, outputHeight, outputWidth]. All arrays lie on the heap. */
export async function convolvePacked<T extends Int32Array | Float32Array>(
  compute: Compute,
  type: ElementName,
  packed: Packed<T>,
  input: T,
  batch: number,
  output: T,
  options: ConvolveOptions<T> = {},
): Promise<void> {
  const { geometry: g, simple, values, record } = packed;
  const { bias, addend } = options;
  expectLength('input', input.length, batch * g.inputChannels * g.inputHeight * g.inputWidth);
  expectLength('output', output.length, batch * g.outputChannels * g.outputHeight * g.outputWidth);
  if (bias) expectLength('bias', bias.length, g.outputChannels);
  if (addend) expectLength('addend', addend.length, output.length);
  if (output.length === 0) return;
  const extras = [bias ?? 0, addend ?? 0];
  if (packed.depthwise) {
    const costPerItem = g.outputHeight * g.outputWidth * (g.kernelHeight * g.kernelWidth + 4) * macNanoseconds;
    await compute.run(`depthwise${type}`, [record, values, g.outputChannels, input, output, ...extras], batch * g.outputChannels, {
      costPerItem,
    });
    return;
  }
  const k = (simple.inputChannels / simple.groups) * simple.kernelHeight * simple.kernelWidth;
  if (output.length === simple.outputChannels && simple.groups === 1 && k === simple.inputChannels && simple.inputWidth === 1) {
    const panels = Math.ceil(simple.outputChannels / 4);
    const args = [values, k, simple.outputChannels, input, output, ...extras];
    await compute.run(`multiplyVector${type}`, args, panels, { costPerItem: k * 4 * macNanoseconds * 3 });
    return;
  }
  if (packed.tiled !== undefined && (type === 'Floats' || tilesPay(simple, packed.tiled.tiles, batch))) {
    const { itemTiles, itemPanels, items, itemMacs } = cutTiled(simple, packed.tiled.tiles, batch, compute.threads);
    const sizes = [simple.outputHeight, simple.outputWidth, itemTiles, itemPanels];
    const args = [packed.tiled.record, values, input, batch, output, ...extras, ...sizes];
    await compute.run(`convolvePoints${type}`, args, items, { costPerItem: itemMacs * macNanoseconds });
    return;
  }
  const { itemTiles, itemPanels, items, itemMacs } = cut(simple, batch, compute.threads);
  const args = [record, values, input, batch, output, ...extras, itemTiles, itemPanels];
  await compute.run(`convolve${type}`, args, items, { costPerItem: itemMacs * macNanoseconds });
}

/** Runs a pool of assembly/depthwise.ts over all maps of a batch. */
export async function runPool<T extends Int32Array | Float32Array>(
  compute: Compute,
  kernel: string,
  geometry: PoolGeometry,
  input: T,
  batch: number,
  output: T,
): Promise<void> {
  const g = geometry;
  const maps = batch * g.channels;
  expectLength('input', input.length, maps * g.inputHeight * g.inputWidth);
  expectLength('output', output.length, maps * g.outputHeight * g.outputWidth);
  const record = onHeap(compute, mapRecord(g, 1));
  const costPerItem = (g.inputHeight * g.inputWidth + g.outputHeight * g.outputWidth * g.kernelHeight * g.kernelWidth) * 0.2;
  try {
    await compute.run(kernel, [record, input, output], maps, { costPerItem });
  } finally {
    compute.free(record);
  }
}

/** Sums over windows; those that are a whole map have a kernel of their own. */
export async function sumPoolPacked<T extends Int32Array | Float32Array>(
  compute: Compute,
  type: ElementName,
  geometry: PoolGeometry,
  input: T,
  batch: number,
  output: T,
): Promise<void> {
  const g = geometry;
  if (isWhole(g)) {
    const length = g.inputHeight * g.inputWidth;
    expectLength('input', input.length, batch * g.channels * length);
    expectLength('output', output.length, batch * g.channels);
    await compute.run(`sumRuns${type}`, [input, length, output], batch * g.channels, { costPerItem: length * 0.2 });
    return;
  }
  await runPool(compute, `sumPool${type}`, geometry, input, batch, output);
}
