// An ONNX file compiled for benchmarks, calibrated on generated pictures.
import { writeFileSync } from 'node:fs';
import { findModel, openModel } from '../src/cli/model.js';
import type { StoredModel } from '../src/cli/model-folder.js';
import type { Task } from '../src/cli/task.js';
import type { Compute } from '../src/kernel/compute.js';
import type { Patch } from '../src/model/program.js';
import { uniformSpec } from './_resnet20.js';

/** With one patch for all channels, or without a spec, which is written beside the file. */
export async function compileOnnx(
  path: string,
  patch: Patch | undefined,
  threads: number,
  task: Task,
  compute: Compute,
  ring = 32,
): Promise<StoredModel> {
  const spec = `${path}.spec.json`;
  if (patch !== undefined) writeFileSync(spec, await uniformSpec(path, patch));
  const settings = { json: false, quiet: true, threads, suite: 'masked', ring, cache: true, seed: 1, ...(patch && { spec }) };
  return openModel(await findModel(path, settings), settings, task, compute);
}
