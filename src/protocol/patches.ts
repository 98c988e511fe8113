// Which elements of a layer share a comparison: block ReLU's patches as index lists on the heap. Public, made once a batch size.
import type { Compute } from '../kernel/compute.js';
import type { Patch, ReluStep } from '../model/program.js';
import type { CostEnvironment, StepContext } from './operation.js';

/** How many elements are compared, in how many blocks, and how many pass as identity; what is left is zero. */
export interface PatchCounts {
  readonly compared: number;
  readonly blocks: number;
  readonly identity: number;
}

/** Index lists over the batch; absent where the list would be 0, 1, 2, … . */
export interface PatchLayout extends PatchCounts {
  /** Positions of compared elements in the tensor. */
  readonly comparedAt?: Int32Array;
  /** Block of each compared element. */
  readonly blockOf?: Int32Array;
  /** Elements in each block. */
  readonly blockSizes: Int32Array;
  readonly identityAt?: Int32Array;
}

interface Map2d {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** [C, H, W] as it is; anything else is that many channels of 1 × 1 (a dense layer) or of one row. */
function mapOf(shape: readonly number[]): Map2d {
  const [channels = 1, height = 1, width = 1] =
    shape.length <= 3 ? shape : [shape[0]!, shape[1]!, shape.slice(2).reduce((a, b) => a * b, 1)];
  return { channels, height, width };
}

const isIdentity = ([height, width]: Patch): boolean => height === 0 && width === 1;
const isZero = ([height, width]: Patch): boolean => height === 1 && width === 0;

/** Counts for one step over the whole batch, without building any list: what the cost formulas need. */
export function patchCounts(step: ReluStep, environment: CostEnvironment): PatchCounts {
  const all = environment.elements(step.input);
  if (!step.patches) return { compared: all, blocks: all, identity: 0 };
  const { height, width } = mapOf(environment.program.tensors[step.input]!.shape);
  const counts = { compared: 0, blocks: 0, identity: 0 };
  for (const patch of step.patches) {
    if (isIdentity(patch)) counts.identity += height * width;
    else if (!isZero(patch)) {
      counts.compared += height * width;
      counts.blocks += Math.ceil(height / patch[0]) * Math.ceil(width / patch[1]);
    }
  }
  const { batch } = environment;
  return { compared: counts.compared * batch, blocks: counts.blocks * batch, identity: counts.identity * batch };
}

/** The index lists of one step; cached on the heap, as they depend on the program and the batch alone. */
export function patchLayout(context: CostEnvironment & Pick<StepContext, 'compute' | 'cached'>, step: ReluStep): PatchLayout {
  return context.cached('patches', () => {
    const counts = patchCounts(step, context);
    if (!step.patches) {
      const blockSizes = context.compute.words(step.cap === undefined ? 0 : counts.blocks);
      return { ...counts, blockSizes: blockSizes.fill(1) };
    }
    return buildLayout(context.compute, mapOf(context.program.tensors[step.input]!.shape), step.patches, context.batch, counts);
  });
}

function buildLayout(compute: Compute, map: Map2d, patches: readonly Patch[], batch: number, counts: PatchCounts): PatchLayout {
  const comparedAt = compute.words(counts.compared);
  const blockOf = compute.words(counts.compared);
  const blockSizes = compute.words(counts.blocks).fill(0);
  const identityAt = compute.words(counts.identity);
  const size = map.height * map.width;
  let compared = 0;
  let identity = 0;
  let block = 0;
  for (let plane = 0; plane < batch * map.channels; plane++) {
    const patch = patches[plane % map.channels]!;
    if (isZero(patch)) continue;
    if (isIdentity(patch)) {
      for (let i = 0; i < size; i++) identityAt[identity++] = plane * size + i;
      continue;
    }
    const across = Math.ceil(map.width / patch[1]);
    for (let i = 0; i < size; i++) {
      const row = Math.floor(i / map.width);
      const at = block + Math.floor(row / patch[0]) * across + Math.floor((i - row * map.width) / patch[1]);
      comparedAt[compared] = plane * size + i;
      blockOf[compared++] = at;
      blockSizes[at]!++;
    }
    block += Math.ceil(map.height / patch[0]) * across;
  }
  return { ...counts, comparedAt, blockOf, blockSizes, identityAt };
}
