// The spec that --spec names, for the model it was made for.
import { createHash } from 'node:crypto';
import { readFileOrExplain } from '../data/picture.node.js';
import { DataError } from '../errors.js';
import type { LayerPatches } from '../model/passes/lower.js';
import { type LayerWindows, parseSpec, patchesOf, windowsOf } from '../model/spec.js';

export interface LoadedSpec {
  readonly patches: LayerPatches;
  readonly windows: LayerWindows;
  /** The least ring that keeps labels, where the file says so. */
  readonly ringBits?: number;
  /** How it was made, as the file says. */
  readonly made: object;
  /** SHA-256 of the file. */
  readonly hash: string;
}

/**
 * Reads a spec and checks that it was made for the model.
 * @throws DataError ("bad-spec", "wrong-spec").
 */
export async function readSpec(path: string, modelHash: string): Promise<LoadedSpec> {
  const bytes = await readFileOrExplain(path);
  const spec = parseSpec(new TextDecoder().decode(bytes), path);
  if (spec.model !== modelHash) {
    throw new DataError(`the spec ${path} was made for another model (${spec.model.slice(0, 16)}…)`, {
      code: 'wrong-spec',
      where: path,
      hint: `This model's hash is ${modelHash}: make a spec for it.`,
    });
  }
  const hash = createHash('sha256').update(bytes).digest('hex');
  const { made = {}, ringBits } = spec;
  return { patches: patchesOf(spec), windows: windowsOf(spec), made, hash, ...(ringBits === undefined ? {} : { ringBits }) };
}
