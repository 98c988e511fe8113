// A network that learns: forward in training mode, loss and backward in one call. Not here: the optimiser (sgd.ts), data and schedules.
import type { Compute } from '../kernel/compute.js';
import type { Graph, GraphNode, SoftmaxNode } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import type { ActivationLayer } from './activation.js';
import { createLayers, isActivationLayer } from './layers.js';
import { scoreLoss } from './loss.js';
import type { TrainNetwork, TrainNode } from './network.js';
import { createNoise } from './noise.js';
import { learnFrom, predictAll } from './passes.js';

/** Numbers that an optimiser changes, and the loss's gradient with respect to them; both lie on the heap and keep their place for life. */
export interface Parameter {
  readonly name: string;
  readonly values: Float32Array;
  readonly gradient: Float32Array;
  /** Whether weight decay applies: to the weights of convolutions, not to biases, batch norm or slopes. */
  readonly decays: boolean;
}

/** Numbers that belong to a checkpoint beside the parameters: running means and variances, an optimiser's velocities. */
export interface TrainingState {
  readonly name: string;
  readonly values: Float32Array;
}

export interface Targets {
  /** Classes, [count] or for a map of scores [count, height, width]. */
  readonly labels?: Int32Array;
  /** The teacher's scores, [count, ...output shape]. */
  readonly teacher?: Float32Array;
}

export interface LossOptions {
  /** Share of a label's probability that all classes get alike; default 0. */
  readonly labelSmoothing?: number;
  /** Label that takes no part in the loss. */
  readonly ignoreLabel?: number;
  /**
   * weight · T² · KL(teacher ‖ network) at temperature T beside (1 − weight) · cross-entropy (Hinton, Vinyals and Dean 2015, section 2).
   * Labels are not needed at weight 1.
   */
  readonly distillation?: { readonly weight: number; readonly temperature: number };
}

export interface StepResult {
  /** Mean over the labels that are counted; NaN or infinite where training diverged: it is for the caller to stop. */
  readonly loss: number;
  /** How many of the counted labels have the greatest score; without labels, the teacher's greatest score stands in. */
  readonly correct: number;
  /** Labels that are not ignored: pictures, or pixels of a map of scores. */
  readonly counted: number;
}

/**
 * Noise that imitates what the protocol does to numbers, while learning; scores are without it. The grids are those that compiling for a ring
 * chooses, from pictures of the first step and again every 256. Weights are rounded to the nearest, activations where they are truncated;
 * gradients go back as if nothing was rounded. Biases are not rounded: their grid is the finest.
 */
export interface NoiseOptions {
  /** Ring of the program, 16 to 32 bits, as for compiling. */
  readonly ringBits: number;
  /** Bits of headroom over the greatest value seen, beyond compiling's own; default 0. */
  readonly marginBits?: number;
  /** Rounds activations up or down at random, as truncation does, instead of to the nearest; default true. */
  readonly truncation?: boolean;
  /** Low bits of an activation's grid that comparisons ignore: a y in [−2^bits, 0) units then passes with probability 1 − |y| / 2^bits. Default 0. */
  readonly ignoredBits?: number;
}

export interface TrainableOptions {
  /** 'frozen': batch norm uses its running statistics, and its scale and offset stay as they are. Default 'train'. */
  readonly batchNorm?: 'train' | 'frozen';
  readonly noise?: NoiseOptions;
  /** Of the noise; default 0. */
  readonly seed?: number;
}

export interface Trainable {
  readonly parameters: readonly Parameter[];
  readonly states: readonly TrainingState[];
  /**
   * Forward in training mode, loss, backward. Gradients are set, not added. Images are [count, ...input shape], anywhere.
   * Throws RangeError for lengths that do not fit and for labels that are no class.
   */
  learn(images: Float32Array, count: number, targets: Targets, loss: LossOptions): Promise<StepResult>;
  /** Scores in inference mode, [count, ...output shape], in an array of its own. */
  predict(images: Float32Array, count: number): Promise<Float32Array>;
  /** Replaces the patches of an activation; undefined is plain ReLU. Throws RangeError where there is no such layer. */
  setPatches(layer: string, patches: readonly Patch[] | undefined): void;
  /** Soft start: activations with patches give alpha · ReLU + (1 − alpha) · block ReLU while learning; 0 at first. */
  setAlpha(alpha: number): void;
  /** The network as it is now, for export, evaluation and compiling; layer names are those of the network. */
  toGraph(): Graph;
  close(): void;
}

/**
 * Copies a network to the heap and makes room for its gradients. Softmax at the output is left out of scores, being part of the loss.
 * Throws RangeError for softmax elsewhere.
 */
export async function openTrainable(compute: Compute, network: TrainNetwork, options: TrainableOptions = {}): Promise<Trainable> {
  const { body, tail } = splitTail(network);
  const layers = await createLayers(compute, body, options);
  const noise = options.noise ? createNoise(compute, body, layers, options.noise, options.seed ?? 0) : undefined;
  const parameters = layers.flatMap((layer) => layer.parameters);
  const scoreShape = layers.find(({ node }) => node.output === body.output)?.node.shape ?? body.input.shape;
  const refresh = async (): Promise<void> => {
    await Promise.all(layers.map((layer) => layer.refresh()));
  };
  const activation = (name: string): ActivationLayer => {
    const found = layers.find(({ node }) => node.name === name);
    if (found === undefined || !isActivationLayer(found)) throw new RangeError(`the network has no activation ${name}`);
    return found;
  };
  return {
    parameters,
    states: [...layers.flatMap((layer) => layer.states), ...(noise?.states ?? [])],
    async learn(images, count, targets, loss) {
      await noise?.begin(images, count);
      await refresh();
      return learnFrom({ compute, network: body, layers, ...(noise && { noise }) }, images, count, (scores, gradient) =>
        scoreLoss(scores, scoreShape, count, targets, loss, gradient),
      );
    },
    async predict(images, count) {
      noise?.pause();
      await refresh();
      return predictAll({ compute, network: body, layers }, images, count);
    },
    setPatches: (name, patches) => activation(name).setPatches(patches),
    setAlpha(alpha) {
      for (const layer of layers) if (isActivationLayer(layer)) layer.setAlpha(alpha);
    },
    toGraph() {
      const nodes = [...layers.map((layer) => layer.current()), ...tail];
      const numbers = parameters.reduce((sum, { values }) => sum + values.length, 0);
      return { input: network.input, output: network.output, nodes, parameters: numbers };
    },
    close() {
      for (const layer of layers) layer.close();
    },
  };
}

/** Takes a softmax off the output. */
function splitTail(network: TrainNetwork): { body: TrainNetwork; tail: readonly GraphNode[] } {
  const isSoftmax = (node: TrainNode): node is SoftmaxNode => node.kind === 'softmax' || node.kind === 'logsoftmax';
  const last = network.nodes.find((node) => node.output === network.output);
  const tail = last !== undefined && isSoftmax(last) ? [last] : [];
  const nodes = network.nodes.filter((node) => node !== last || tail.length === 0);
  const stray = nodes.find(isSoftmax);
  if (stray !== undefined) throw new RangeError(`${stray.kind} ${stray.name} is not at the output: there is no way back through it`);
  return { body: { ...network, nodes, output: tail[0]?.inputs[0] ?? network.output }, tail };
}
