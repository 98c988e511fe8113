// What the protocol does to numbers, imitated while a network learns: grids of weights and activations, truncation, comparisons that ignore
// low bits. Grids are chosen as for compiling.
import type { Compute } from '../kernel/compute.js';
import { roundTo } from '../kernel/training.js';
import { measureRanges } from '../model/calibrate.js';
import { thriftBits } from '../model/compile.js';
import { type Graph, sizeOf, type ValueId } from '../model/graph.js';
import { lower } from '../model/passes/lower.js';
import { simplify } from '../model/passes/simplify.js';
import { chooseScales } from '../model/scales.js';
import type { Layer } from './layer.js';
import { isActivationLayer, isConvolutionLayer } from './layers.js';
import type { TrainNetwork } from './network.js';
import type { NoiseOptions, TrainingState } from './trainable.js';

export interface Noise {
  /** Belongs to a checkpoint: the grids, and the number of the step, from which the noise is drawn. */
  readonly states: readonly TrainingState[];
  /** Before a step: draws again, and chooses the grids where they are due. */
  begin(images: Float32Array, count: number): Promise<void>;
  /** Rounds a value on the way, where the protocol would truncate it. */
  disturb(id: ValueId, values: Float32Array): Promise<void>;
  /** Weights and comparisons as they are, until the next step begins. */
  pause(): void;
}

/** Steps between two choices of grids. */
const interval = 256;
/** Pictures of a step that grids are chosen from. */
const calibrationPictures = 32;

export function createNoise(compute: Compute, network: TrainNetwork, layers: readonly Layer[], options: NoiseOptions, seed: number): Noise {
  const { truncation = true, ignoredBits = 0 } = options;
  const values = [network.input.id, ...layers.map(({ node }) => node.output)];
  const places = new Map(values.map((id, i) => [id, i]));
  // Units of values, 0 for none, then of the weights of each layer.
  const units = { name: 'noise.units', values: new Float32Array(values.length + layers.length) };
  const step = { name: 'noise.step', values: new Float32Array(1) };
  const draw = (place: number): number =>
    Math.imul(seed + 1, 0x9e3779b9) ^ Math.imul(step.values[0]! * values.length + place + 1, 0x85ebca6b);

  const setGrids = (): void => {
    for (const [i, layer] of layers.entries()) {
      const unit = units.values[i + 1]!;
      if (isConvolutionLayer(layer)) layer.setGrid(weightUnits(layers, layer, units.values[values.length + i]!));
      if (isActivationLayer(layer)) layer.setFlip({ below: ignoredBits > 0 ? 2 ** ignoredBits * unit : 0, seed: draw(-i - 1) });
    }
  };

  return {
    states: [units, step],
    async begin(images, count) {
      if (step.values[0]! % interval === 0) {
        const pictures = Math.min(count, calibrationPictures);
        const graph = graphOf(network, layers);
        const part = images.subarray(0, pictures * sizeOf(network.input.shape));
        units.values.set(await chooseUnits(compute, graph, layers, part, pictures, options));
      }
      setGrids();
      step.values[0]!++;
    },
    async disturb(id, array) {
      const place = places.get(id)!;
      const unit = units.values[place]!;
      if (unit > 0) await roundTo(compute, array, unit, truncation && place > 0 ? draw(place) : undefined, array);
    },
    pause() {
      for (const layer of layers) if (isConvolutionLayer(layer)) layer.setGrid(undefined);
    },
  };
}

function graphOf(network: TrainNetwork, layers: readonly Layer[]): Graph {
  return { input: network.input, output: network.output, nodes: layers.map((layer) => layer.current()), parameters: 0 };
}

/** Units of the input, of each layer's output and of each layer's weights. */
async function chooseUnits(
  compute: Compute,
  graph: Graph,
  layers: readonly Layer[],
  images: Float32Array,
  count: number,
  { ringBits, marginBits = 0 }: NoiseOptions,
): Promise<Float32Array> {
  const lowered = lower(simplify(graph));
  const ranges = await measureRanges(compute, lowered, { images, count });
  const { scale } = chooseScales(lowered, ranges, { ringBits, marginBits: 1 + marginBits, thriftBits });
  const named = new Map(lowered.nodes.map((node) => [node.name, node]));
  const units = new Float32Array(1 + 2 * layers.length);
  units[0] = 1 / scale.get(lowered.input.id)!;
  for (const [i, { node }] of layers.entries()) {
    const own = named.get(node.name);
    const truncated = own?.kind === 'relu' || own?.kind === 'truncate' ? own : named.get(`${node.name}/truncated`);
    if (truncated) units[1 + i] = 1 / scale.get(truncated.output)!;
    if (own?.kind === 'conv') units[1 + layers.length + i] = scale.get(own.inputs[0]!)! / scale.get(own.output)!;
  }
  return units;
}

/** Batch norm goes into the weights before they are rounded: a channel that it enlarges has a finer grid here. */
function weightUnits(layers: readonly Layer[], layer: Layer, unit: number): Float32Array | undefined {
  if (unit === 0 || layer.node.kind !== 'conv') return undefined;
  const reader = layers.find(({ node }) => node.inputs.includes(layer.node.output));
  const after = reader && (reader.node.kind === 'batchnorm' || reader.node.kind === 'affine') ? reader.current() : undefined;
  const units = new Float32Array(layer.node.geometry.outputChannels).fill(unit);
  if (after?.kind !== 'affine' || after.multiplier.length !== units.length) return units;
  return units.map((u, c) => u / Math.max(Math.abs(after.multiplier[c]!), 1e-6));
}
