// The spec file: which patch of each channel of an activation shares one comparison, and which bits are compared.
import * as v from 'valibot';
import { DataError } from '../errors.js';
import type { LayerPatches } from './passes/lower.js';

const side = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65535));

const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));

/**
 * What is compared of an activation, in the units of the float network, so that it means the same whatever scales the compiler chooses. Both
 * are of what is compared: of a single value, or of the sum over a patch.
 */
const windowSchema = v.pipe(
  v.object({
    /** A negative value less than this below zero may pass as positive. The compiler rounds it down to a bit; absent: no such error. */
    low: v.exactOptional(positive),
    /** Values up to this size are told apart, greater ones may wrap round. Absent: the calibrated range with a margin. */
    high: v.exactOptional(positive),
  }),
  v.check(({ low = 0, high = Number.POSITIVE_INFINITY }) => low < high, 'low is not below high'),
);

export type SpecWindow = v.InferOutput<typeof windowSchema>;

/** Windows by layer name. */
export type LayerWindows = ReadonlyMap<string, SpecWindow>;

const specSchema = v.object({
  schema: v.literal('tessera/spec@1'),
  /** SHA-256 of the ONNX file. */
  model: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'not a SHA-256 in hexadecimal')),
  /** How it was made: budget, cost, method, samples, seed, version. */
  made: v.optional(v.record(v.string(), v.unknown())),
  /** The least ring that keeps the network's labels under these patches; commands take it, or more, where the call names none. */
  ringBits: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(16), v.maxValue(64))),
  layers: v.record(v.string(), v.array(v.tuple([side, side]))),
  windows: v.exactOptional(v.record(v.string(), windowSchema)),
});

export type Spec = v.InferOutput<typeof specSchema>;

/** Reads a spec's JSON; `where` names the file in errors. Whether it fits a model is checked when that is compiled. Throws DataError. */
export function parseSpec(text: string, where: string): Spec {
  let reason = 'it is not JSON';
  try {
    const result = v.safeParse(specSchema, JSON.parse(text));
    if (result.success) return result.output;
    reason = `${v.getDotPath(result.issues[0]) ?? ''}: ${result.issues[0].message}`;
  } catch {}
  throw new DataError(`${where} is not a block-ReLU spec: ${reason}`, { code: 'bad-spec', where, hint: 'its schema is tessera/spec@1' });
}

/** The patches of a spec, as the compiler takes them. */
export function patchesOf(spec: Spec): LayerPatches {
  return new Map(Object.entries(spec.layers));
}

/** The comparison windows of a spec, as the compiler takes them. */
export function windowsOf({ windows }: Spec): LayerWindows {
  return new Map(Object.entries(windows ?? {}));
}
