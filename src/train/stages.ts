// Iterative fine-tuning: a spec that comes in over several stages, a share of its channels at a time.
import { createSequence } from '../data/generated.js';
import type { LayerPatches } from '../model/passes/lower.js';
import type { Patch } from '../model/program.js';

const plain: Patch = [1, 1];

/**
 * The part of a spec that stage `stage` of `stages` (from 0) runs under: of the channels that do not keep plain ReLU, in an order drawn from
 * the seed, the first (stage + 1) / stages; the others keep plain ReLU until their turn. The last stage is the whole spec.
 */
export function patchesOfStage(patches: LayerPatches, stage: number, stages: number, seed: number): LayerPatches {
  if (stage >= stages - 1) return patches;
  const changed = [...patches].flatMap(([layer, list]) => list.flatMap(([h, w], c) => (h === 1 && w === 1 ? [] : [`${layer}\n${c}`])));
  const random = createSequence(seed);
  for (let i = changed.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [changed[i], changed[j]] = [changed[j]!, changed[i]!];
  }
  const now = new Set(changed.slice(0, Math.ceil((changed.length * (stage + 1)) / stages)));
  return new Map([...patches].map(([layer, list]) => [layer, list.map((patch, c) => (now.has(`${layer}\n${c}`) ? patch : plain))]));
}

/** The stage an epoch belongs to: equal shares of the run, the last one longest. */
export function stageOf(epoch: number, epochs: number, stages: number): number {
  return Math.min(stages - 1, Math.floor(epoch / Math.max(1, Math.floor(epochs / stages))));
}
