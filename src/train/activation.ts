// Activations on the way there and back: ReLU with a cap, PReLU, and both with shared comparisons.
import type { Compute } from '../kernel/compute.js';
import { addFloat, clipFloat } from '../kernel/float.js';
import { passPositive } from '../kernel/training.js';
import { runNode } from '../model/forward.js';
import { type PreluNode, type ReluNode, sizeOf } from '../model/graph.js';
import type { Patch } from '../model/program.js';
import { blockGate } from './gradients.js';
import { createParameter, freeParameters, type Layer } from './layer.js';

/** A layer whose comparisons can be shared. */
export interface ActivationLayer extends Layer {
  setPatches(patches: readonly Patch[] | undefined): void;
  setAlpha(alpha: number): void;
}

const noLayers = new Map();

/** Patches of a layer as they are now, and the share of plain ReLU beside them while learning. */
interface Sharing {
  patches: readonly Patch[] | undefined;
  alpha: number;
}

function withoutPatches<T extends ReluNode | PreluNode>(node: T): T {
  const { patches: _, ...plain } = node;
  return plain as T;
}

/** The activation of a node (its patches are those of `sharing`), mixed with the plain one by alpha while learning. */
async function activate(
  compute: Compute,
  node: ReluNode | PreluNode,
  { patches, alpha }: Sharing,
  input: Float32Array,
  count: number,
  output: Float32Array,
): Promise<void> {
  const plain = withoutPatches(node);
  if (patches === undefined) return runNode(compute, plain, noLayers, [input], count, output);
  await runNode(compute, { ...plain, patches }, noLayers, [input], count, output);
  if (alpha === 0) return;
  const other = compute.floats(output.length);
  await runNode(compute, plain, noLayers, [input], count, other);
  await addFloat(compute, other, alpha, output, 1 - alpha, output);
  compute.free(other);
}

/** output = what of a gradient passes the comparisons on `input`. */
async function gate(
  compute: Compute,
  node: ReluNode | PreluNode,
  { patches, alpha }: Sharing,
  input: Float32Array,
  gradient: Float32Array,
  output: Float32Array,
): Promise<void> {
  const cap = (node.kind === 'relu' ? node.cap : undefined) ?? Number.POSITIVE_INFINITY;
  if (patches === undefined) return passPositive(compute, gradient, input, cap, output, false);
  // First, because the output may take the gradient's place.
  const plain = alpha === 0 ? undefined : compute.floats(gradient.length);
  if (plain) await passPositive(compute, gradient, input, cap, plain, false);
  blockGate(node.shape, patches, cap, input, gradient, output);
  if (plain === undefined) return;
  await addFloat(compute, plain, alpha, output, 1 - alpha, output);
  compute.free(plain);
}

export function createRelu(compute: Compute, node: ReluNode): ActivationLayer {
  const cap = node.cap ?? Number.POSITIVE_INFINITY;
  const sharing: Sharing = { patches: node.patches, alpha: 0 };
  const isPlain = (): boolean => sharing.patches === undefined;
  return {
    node,
    parameters: [],
    states: [],
    keeps: () => ({ input: !isPlain(), output: isPlain() }),
    get inPlace() {
      return isPlain();
    },
    backwardInPlace: true,
    refresh: async () => {},
    forward: ({ inputs, output, count, training }) =>
      isPlain()
        ? clipFloat(compute, inputs[0]!, 0, cap, output)
        : activate(compute, node, training ? sharing : { ...sharing, alpha: 0 }, inputs[0]!, count, output),
    async backward({ inputs, output, gradient, targets }) {
      const target = targets[0];
      if (target === undefined) return;
      if (isPlain()) return passPositive(compute, gradient, output!, cap, target.values, target.add);
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
    forward: ({ inputs, output, count, training }) =>
      activate(compute, { ...node, slopes: slopes.values }, training ? sharing : { ...sharing, alpha: 0 }, inputs[0]!, count, output),
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
    close: () => freeParameters(compute, [slopes]),
  };
}
