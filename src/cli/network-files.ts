// A changed network on disk: the ONNX file, and beside it the spec that fits its new hash.
import { createHash } from 'node:crypto';
import type { LayerPatches } from '../model/passes/lower.js';
import type { LayerWindows } from '../model/spec.js';
import { writeWhole } from './files.js';

export interface NetworkFiles {
  readonly file: string;
  /** Absent for a network without patches. */
  readonly spec?: string;
  /** SHA-256 of the file. */
  readonly model: string;
}

/** Writes an ONNX file, and its spec as .spec.json. Throws DataError ("unwritable-file"). */
export async function writeNetwork(
  file: string,
  bytes: Uint8Array,
  spec: { readonly patches: LayerPatches; readonly windows?: LayerWindows; readonly made: object } | undefined,
): Promise<NetworkFiles> {
  const model = createHash('sha256').update(bytes).digest('hex');
  await writeWhole(file, bytes);
  if (spec === undefined) return { file, model };
  const { patches, windows, made } = spec;
  const narrowed = windows === undefined || windows.size === 0 ? {} : { windows: Object.fromEntries(windows) };
  const path = file.replace(/(\.onnx)?$/, '.spec.json');
  const content = { schema: 'tessera/spec@1', model, made, layers: Object.fromEntries(patches), ...narrowed };
  await writeWhole(path, `${JSON.stringify(content)}\n`);
  return { file, spec: path, model };
}
