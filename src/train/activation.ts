// Activations on the way there and back: ReLU with a cap, PReLU, and both with shared comparisons.
import { type BlockRelu, blockRelu, blockReluGate } from '../kernel/block-relu.js';
import type { Compute } from '../kernel/compute.js';
import { addFloat, clipFloat } from '../kernel/float.js';
import { passPositive } from '../kernel/training.js';
import { type PreluNode, type ReluNode, sizeOf } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { createParameter, freeParameters, type Layer } from './layer.js';

/** A layer whose comparisons can be shared. */
export interface ActivationLayer extends Layer {
  setPatches(patches: readonly Patch[] | undefined): void;
  setAlpha(alpha: number): void;
  /** Comparisons that ignore low bits while learning, see {@link BlockRelu.flip}; undefined for exact ones. */
  setFlip(flip: BlockRelu['flip'] | undefined): void;
}

/** Patches of a layer as they are now, and the share of plain ReLU beside them while learning. */
interface Sharing {
  patches: readonly Patch[] | undefined;
  alpha: number;
  flip?: BlockRelu['flip'] | undefined;
}

const inTraining = (sharing: Sharing, training: boolean): Sharing => (training ? sharing : { patches: sharing.patches, alpha: 0 });

function withoutPatches<T extends ReluNode | PreluNode>(node: T): T {
  const { patches: _, ...plain } = node;
  return plain as T;
}

const capOf = (node: ReluNode | PreluNode): number => (node.kind === 'relu' ? node.cap : undefined) ?? Number.POSITIVE_INFINITY;

const isPlain = ({ patches, flip }: Sharing): boolean => patches === undefined && flip === undefined;

function blocksOf(node: ReluNode | PreluNode, { patches, alpha, flip }: Sharing): BlockRelu {
  const given = patches ?? Array.from({ length: node.shape[0] ?? 1 }, (): Patch => [1, 1]);
  return { shape: node.shape, patches: given, cap: capOf(node), alpha, ...(flip && { flip }) };
}

/** The ReLU of an activation, or the ReLU part of a PReLU. */
function rectify(compute: Compute, node: ReluNode | PreluNode, sharing: Sharing, input: Float32Array, output: Float32Array): Promise<void> {
  if (isPlain(sharing)) return clipFloat(compute, input, 0, capOf(node), output);
  return blockRelu(compute, blocksOf(node, sharing), input, output);
}

/** output = what of a gradient passes the comparisons on `input`; in place where output is the gradient. */
function gate(
  compute: Compute,
  node: ReluNode | PreluNode,
  sharing: Sharing,
  input: Float32Array,
  gradient: Float32Array,
  output: Float32Array,
): Promise<void> {
  if (isPlain(sharing)) return passPositive(compute, gradient, input, capOf(node), output, false);
  return blockReluGate(compute, blocksOf(node, sharing), input, gradient, output);
}

export function createRelu(compute: Compute, node: ReluNode): ActivationLayer {
  const cap = node.cap ?? Number.POSITIVE_INFINITY;
  const sharing: Sharing = { patches: node.patches, alpha: 0 };
  return {
    node,
    parameters: [],
    states: [],
    keeps: () => ({ input: !isPlain(sharing), output: isPlain(sharing) }),
    get inPlace() {
      return isPlain(sharing);
    },
    backwardInPlace: true,
    refresh: async () => {},
    forward: ({ inputs, output, training }) => rectify(compute, node, inTraining(sharing, training), inputs[0]!, output),
    async backward({ inputs, output, gradient, targets }) {
      const target = targets[0];
      if (target === undefined) return;
      if (isPlain(sharing)) return passPositive(compute, gradient, output!, cap, target.values, target.add);
      const gated = target.add ? compute.floats(gradient.length) : target.values;
      await gate(compute, node, sharing, inputs[0]!, gradient, gated);
      if (!target.add) return;
      await addFloat(compute, gated, 1, target.values, 1, target.values);
      compute.free(gated);
    },
    current: () => (sharing.patches ? { ...node, patches: sharing.patches } : withoutPatches(node)),
    setPatches(patches) {
      sharing.patches = patches;
    },
    setAlpha(alpha) {
      sharing.alpha = alpha;
    },
    setFlip(flip) {
      sharing.flip = flip;
    },
    close() {},
  };
}

/** y = a x + (1 − a) relu(x), in which patches act on the ReLU; the slopes a are parameters. */
export function createPrelu(compute: Compute, node: PreluNode): ActivationLayer {
  const sharing: Sharing = { patches: node.patches, alpha: 0 };
  const slopes = createParameter(compute, `${node.name}.slopes`, node.slopes, false);
  const run = sizeOf(node.shape) / node.slopes.length;
  return {
    node,
    parameters: [slopes],
    states: [],
    keeps: () => ({ input: true, output: false }),
    inPlace: false,
    backwardInPlace: true,
    refresh: async () => {},
    async forward({ inputs, output, training }) {
      await rectify(compute, node, inTraining(sharing, training), inputs[0]!, output);
      for (let i = 0; i < output.length; i++) {
        const slope = slopes.values[Math.floor(i / run) % slopes.values.length]!;
        output[i] = slope * inputs[0]![i]! + (1 - slope) * output[i]!;
      }
    },
    async backward({ inputs, gradient, targets }) {
      const x = inputs[0]!;
      const gated = compute.floats(gradient.length);
      await gate(compute, node, sharing, x, gradient, gated);
      const sums = new Float64Array(slopes.values.length);
      const target = targets[0];
      for (let i = 0; i < x.length; i++) {
        const c = Math.floor(i / run) % sums.length;
        const rest = gradient[i]! - gated[i]!;
        sums[c]! += rest * x[i]!;
        if (target) target.values[i] = (target.add ? target.values[i]! : 0) + gated[i]! + slopes.values[c]! * rest;
      }
      slopes.gradient.set(sums);
      compute.free(gated);
    },
    current: () => ({ ...withoutPatches(node), slopes: slopes.values.slice(), ...(sharing.patches && { patches: sharing.patches }) }),
    setPatches(patches) {
      sharing.patches = patches;
    },
    setAlpha(alpha) {
      sharing.alpha = alpha;
    },
    setFlip(flip) {
      sharing.flip = flip;
    },
    close: () => freeParameters(compute, [slopes]),
  };
}
