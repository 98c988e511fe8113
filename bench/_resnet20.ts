// The built-in ResNet-20 for CIFAR-10, with all its comparisons and with an eighth of them, compiled for a suite.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCompute } from '../src/cli/compute.js';
import { findModel, openModel, readOnnx } from '../src/cli/model.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import { openPictures } from '../src/cli/pictures.js';
import { inspectModel } from '../src/model/inspect.js';
import type { LayerPatches } from '../src/model/passes/lower.js';
import type { Patch } from '../src/model/program.js';
import { commandTask } from './_parties.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const onnx = join(root, 'models/cifar10-resnet20.onnx');
const data = join(root, 'models/cifar10-resnet20.json');

/** Patches of 2 × 4 everywhere: 12.5 % of the comparisons. */
const eighth: Patch = [2, 4];

/** Patches everywhere, from all comparisons to 3 %. */
export const patchesEverywhere: readonly Patch[] = [
  [1, 1],
  [1, 2],
  [2, 2],
  [2, 4],
  [4, 4],
  [4, 8],
];

/** One patch for all channels of all activations, cut to maps that are smaller. */
export function everywhere(read: Parameters<typeof inspectModel>[0], [patchHeight, patchWidth]: Patch): LayerPatches {
  const layers = inspectModel(read).layers.filter(({ drelus }) => drelus > 0);
  return new Map(
    layers.map(({ name, channels, shape: [, height = 1, width = 1] }) => {
      const patch: Patch = [Math.min(patchHeight, height), Math.min(patchWidth, width)];
      return [name, new Array<Patch>(channels).fill(patch)];
    }),
  );
}

/** The same as a spec file's text. */
export async function uniformSpec(path: string, patch: Patch): Promise<string> {
  const model = createHash('sha256').update(readFileSync(path)).digest('hex');
  const layers = Object.fromEntries(everywhere((await readOnnx(path)).read(), patch));
  return JSON.stringify({ schema: 'tessera/spec@1', model, layers });
}

/** A suite whose programs all suites run that compute in the ring: in 64 bits securenn's, which leave headroom. */
const suiteFor = (ring: number): string => (ring === 64 ? 'securenn' : 'masked');

/** The network compiled with one patch for all channels, or without a spec. */
export async function compileResnet20(patch: Patch | undefined, ring = 32, suite = suiteFor(ring)): Promise<StoredModel> {
  const { task, end } = commandTask();
  const folder = mkdtempSync(join(tmpdir(), 'tessera-bench-'));
  try {
    const spec = join(folder, 'spec.json');
    if (patch !== undefined) writeFileSync(spec, await uniformSpec(onnx, patch));
    const options = {
      json: false,
      quiet: true,
      threads: 1,
      ring,
      suite,
      seed: 1,
      cache: true,
      data,
      ...(patch === undefined ? {} : { spec }),
    };
    const source = await findModel(onnx, options);
    const pictures = await openPictures([], options, task.output, source.description);
    return await openModel(source, options, task, await openCompute(task, 1), pictures, 'calibrate');
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await end();
  }
}

/** Both, with their names in tables. */
export async function resnet20(ring = 32): Promise<readonly (readonly [name: string, model: StoredModel])[]> {
  return [
    ['ResNet-20', await compileResnet20(undefined, ring)],
    ['ResNet-20, 12.5 %', await compileResnet20(eighth, ring)],
  ];
}
