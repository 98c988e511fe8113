// What a patch on one channel does to the output, to first order: one way back through the network serves every channel and patch at once.
import { createSequence } from '../data/generated.js';
import { addBlockChanges } from '../kernel/blocks.js';
import type { Compute } from '../kernel/compute.js';
import { applySoftmax } from '../model/forward.js';
import { type Graph, sizeOf } from '../model/graph.js';
import { type Differentiable, openDifferentiable } from '../train/backward.js';
import { type MeasuredLayer, type Measurement, type Meter, picturesInCache, type SampleBatch } from './distort.js';

/** Directions that go back together: a larger number would need more memory, and gain nothing. */
export const directionsAtOnce = 4;

export interface LinearOptions {
  /** Random directions at the scores for each picture, at least 1. */
  readonly probes: number;
  readonly seed: number;
}

/**
 * D(c, b) ≈ E (Σ over elements of g · δ)², with δ the change of channel c's activation under patch b and g = Jᵀv for random v with
 * E vvᵀ = I at the scores: E over v of (vᵀJδ)² is ‖Jδ‖². The directions of a picture depend on the seed and its place in the sample alone.
 */
export async function openLinear(compute: Compute, measurement: Measurement, { probes, seed }: LinearOptions): Promise<Meter> {
  const network = await openDifferentiable(compute, measurement.graph);
  return {
    batch: picturesForDirections(measurement, probes),
    perPicture: probes,
    add: (batch, sums) =>
      withPass(network, batch, async (pass) => {
        const outputs = pass.value(measurement.graph.output).length;
        for (let probe = 0; probe < probes; probe += directionsAtOnce) {
          const directions = Math.min(directionsAtOnce, probes - probe);
          const gradients = directionGradients(compute, outputs, batch, seed, probe, directions);
          await backAndAdd({ compute, measurement, network, signed: false }, pass, gradients, directions, sums);
        }
      }),
    close: () => network.close(),
  };
}

/** Gradients at the output that go back for directions `probe` to `probe` + `directions` of a batch: [direction, picture, output], on the heap. */
export function directionGradients(
  compute: Compute,
  outputs: number,
  batch: Pick<SampleBatch, 'count' | 'first'>,
  seed: number,
  probe: number,
  directions: number,
): Float32Array {
  const gradients = compute.floats(directions * outputs);
  for (let n = 0; n < batch.count; n++) {
    const own = drawDirections(mix(mix(mix(seed) + batch.first + n) + probe), outputs / batch.count, directions);
    own.forEach((direction, d) => {
      gradients.set(direction, d * outputs + n * direction.length);
    });
  }
  return gradients;
}

/** Pictures at a time that keep the gradients of `probes` directions in the cache. */
export const picturesForDirections = (measurement: Measurement, probes: number): number =>
  picturesInCache(measurement, Math.min(probes, directionsAtOnce));

/**
 * The signed first-order change of the cross-entropy loss, Σ g · δ with g = ∂loss/∂activation. Not to be trusted far from the network: the
 * sum over many channels forgets that their changes act together.
 */
export async function openLoss(compute: Compute, measurement: Measurement): Promise<Meter> {
  const network = await openDifferentiable(compute, measurement.graph);
  const [classes = 1, ...map] = shapeAfter(measurement.graph);
  return {
    batch: picturesInCache(measurement, 1),
    perPicture: 1,
    labelsEach: sizeOf(map),
    add: (batch, sums) =>
      withPass(network, batch, async (pass) => {
        const scores = pass.value(measurement.graph.output);
        const gradients = compute.floats(scores.length);
        lossGradient(scores, batch, classes, gradients);
        await backAndAdd({ compute, measurement, network, signed: true }, pass, gradients, 1, sums);
      }),
    close: () => network.close(),
  };
}

const shapeAfter = ({ nodes, output, input }: Graph): readonly number[] =>
  nodes.find((node) => node.output === output)?.shape ?? input.shape;

type Pass = Awaited<ReturnType<Differentiable['forward']>>;

async function withPass(network: Differentiable, { images, count }: SampleBatch, use: (pass: Pass) => Promise<void>): Promise<void> {
  const pass = await network.forward(images, count);
  try {
    await use(pass);
  } finally {
    pass.free();
  }
}

interface Context {
  readonly compute: Compute;
  readonly measurement: Measurement;
  readonly network: Differentiable;
  readonly signed: boolean;
}

/** Takes gradients (which it frees) back, and at each activation adds what its patches change. */
async function backAndAdd(
  { compute, measurement, network, signed }: Context,
  pass: Pass,
  output: Float32Array,
  directions: number,
  sums: Float64Array,
): Promise<void> {
  const layers = new Map(measurement.layers.map((layer) => [layer.node, layer]));
  await network.backward(pass, output, async (node, values, gradients) => {
    const { channels, height, width, patches, columns, firstRow } = layers.get(node)!;
    const own = new Float64Array(channels * patches.length);
    const cap = node.kind === 'relu' && node.cap !== undefined ? { cap: node.cap } : {};
    const shape = { images: pass.count, probes: directions, channels, height, width, signed, ...cap };
    const slopes = slopeGradients(compute, node, gradients);
    try {
      await addBlockChanges(compute, shape, patches, values, slopes ?? gradients, own);
    } finally {
      if (slopes !== undefined) compute.free(slopes);
    }
    for (let c = 0; c < channels; c++) {
      columns.forEach((column, k) => {
        sums[(firstRow + c) * measurement.patches.length + column]! += own[c * patches.length + k]!;
      });
    }
  });
}

/** A PReLU is a x + (1 − a) relu(x), and patches act on that ReLU: its gradient is 1 − a times the output's. Undefined for a ReLU. */
export function slopeGradients(compute: Compute, node: MeasuredLayer['node'], gradients: Float32Array): Float32Array | undefined {
  if (node.kind === 'relu') return undefined;
  const scaled = compute.floats(gradients.length);
  const size = sizeOf(node.shape);
  const run = size / node.slopes.length;
  for (let i = 0; i < scaled.length; i++) scaled[i] = gradients[i]! * (1 - node.slopes[Math.floor((i % size) / run)]!);
  return scaled;
}

/**
 * ∂ loss / ∂ scores = (softmax − one-hot) / scored positions: cross-entropy over the classes, the first axis, in the mean over the positions
 * of a map whose class is one of them and not the ignored one. A picture without any has gradient 0.
 */
function lossGradient(scores: Float32Array, { count, labels = [], ignore }: SampleBatch, classes: number, gradients: Float32Array): void {
  const positions = scores.length / count / classes;
  for (let n = 0; n < count; n++) {
    const labelAt = (p: number): number => labels[n * positions + p] ?? -1;
    const isScored = (p: number): boolean => labelAt(p) !== ignore && labelAt(p) >= 0 && labelAt(p) < classes;
    let scored = 0;
    for (let p = 0; p < positions; p++) if (isScored(p)) scored++;
    for (let p = 0; p < positions; p++) {
      const first = n * classes * positions + p;
      const own = Array.from({ length: classes }, (_, k) => scores[first + k * positions]!);
      const softmax = isScored(p) ? applySoftmax('softmax', own) : undefined;
      own.forEach((_, k) => {
        gradients[first + k * positions] = softmax === undefined ? 0 : (softmax[k]! - (labelAt(p) === k ? 1 : 0)) / scored;
      });
    }
  }
}

/** A bijection of 32-bit words without structure (the finaliser of MurmurHash3): seeds of streams that must not overlap for small seeds. */
function mix(word: number): number {
  let mixed = word >>> 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/**
 * Directions v with E v vᵀ = I: of one random orthogonal frame, each of length √size. For 4 of 10 outputs their spread is a third less than
 * that of independent ones, and as many as outputs have none; with many outputs there is nothing left to gain.
 */
export function drawDirections(seed: number, size: number, count: number): Float32Array[] {
  const uniform = createSequence(seed);
  const drawn: Float32Array[] = [];
  for (let d = 0; d < count; d++) {
    const own = new Float32Array(size);
    fillNormal(uniform, own);
    for (const other of drawn.slice(d - (d % size))) {
      const along = dot(own, other) / size;
      for (let i = 0; i < size; i++) own[i]! -= along * other[i]!;
    }
    const scale = Math.sqrt(size / dot(own, own));
    drawn.push(own.map((value) => value * scale));
  }
  return drawn;
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

/** Standard normal numbers (Box and Muller 1958). */
function fillNormal(uniform: () => number, out: Float32Array): void {
  for (let i = 0; i < out.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
  }
}
