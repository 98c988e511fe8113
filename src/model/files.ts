// program.bin and weights.bin. A program comes from a server nobody has to trust: it is checked before anything is allocated for it.
import { deflateSync, Inflate } from 'fflate';
import * as v from 'valibot';
import { DataError } from '../errors.js';
import type { Words } from '../kernel/compute.js';
import { isLong } from '../ring/words.js';
import { checkProgram } from './check.js';
import type { Program, ProgramWeights } from './program.js';
import { programSchema } from './program-schema.js';

const programMagic = 'TSRP';
const weightsMagic = 'TSRW';
const version = 1;
/** Magic, version, and the SHA-256 of what follows once inflated. */
const headerBytes = 40;
/** A program of ResNet-152 with a patch for every channel takes less than 2 MiB of JSON. */
const maxJsonBytes = 32 << 20;

const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
}

/** JSON with sorted keys: equal programs give equal text. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
}

const programJson = (program: Program): Uint8Array => new TextEncoder().encode(canonical(program));

/** SHA-256 of the program's canonical JSON, in hexadecimal: what the parties compare. */
export async function programHash(program: Program): Promise<string> {
  return hex(await sha256(programJson(program)));
}

function withHeader(magic: string, hashes: readonly Uint8Array[], body: Uint8Array): Uint8Array {
  const out = new Uint8Array(8 + 32 * hashes.length + body.length);
  out.set(new TextEncoder().encode(magic));
  new DataView(out.buffer).setUint32(4, version, true);
  hashes.forEach((hash, i) => {
    out.set(hash, 8 + 32 * i);
  });
  out.set(body, 8 + 32 * hashes.length);
  return out;
}

function bad(file: string, reason: string, cause?: unknown): DataError {
  return new DataError(`${file}: ${reason}`, {
    code: 'bad-program',
    where: file,
    hint: 'compile the model again with this version',
    cause,
  });
}

function checkHeader(bytes: Uint8Array, file: string, magic: string, length: number): void {
  if (bytes.length < length || new TextDecoder().decode(bytes.subarray(0, 4)) !== magic) throw bad(file, 'not such a file, or cut short');
  const found = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true);
  if (found !== version) throw bad(file, `schema version ${found}, this program reads ${version}`);
}

/** How a platform does what takes long for large weights; {@link portableCodec} runs everywhere. */
export interface Codec {
  deflate(bytes: Uint8Array): Uint8Array;
  /** Hands what `bytes` inflate to over part by part. Throws, or rejects, what `take` throws and an error for damaged data. */
  inflate(bytes: Uint8Array, take: (part: Uint8Array) => void): void | Promise<void>;
  sha256(bytes: Uint8Array): Promise<Uint8Array>;
}

export const portableCodec: Codec = {
  deflate: (bytes) => deflateSync(bytes, { level: 4 }),
  inflate(bytes, take) {
    const stream = new Inflate(take);
    const step = 16384;
    for (let at = 0; at < bytes.length; at += step) stream.push(bytes.subarray(at, at + step), at + step >= bytes.length);
  },
  sha256,
};

/** Hands over at most `limit` inflated bytes, a little at a time, so that a small file cannot fill the memory; returns how many there were. */
async function inflateParts(
  bytes: Uint8Array,
  limit: number,
  file: string,
  take: (part: Uint8Array, at: number) => void,
  codec: Codec = portableCodec,
): Promise<number> {
  let total = 0;
  if (bytes.length === 0) throw bad(file, 'is empty');
  try {
    await codec.inflate(bytes, (part) => {
      total += part.length;
      if (total > limit) throw bad(file, `holds more than ${limit} bytes`);
      take(part, total - part.length);
    });
  } catch (cause) {
    throw cause instanceof DataError ? cause : bad(file, 'its compressed data are damaged', cause);
  }
  return total;
}

async function inflateAll(bytes: Uint8Array, limit: number, file: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const total = await inflateParts(bytes, limit, file, (part) => parts.push(part));
  const out = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** program.bin: header, SHA-256 of the canonical JSON, the JSON deflated. */
export async function encodeProgram(program: Program): Promise<Uint8Array> {
  const json = programJson(program);
  return withHeader(programMagic, [await sha256(json)], deflateSync(json));
}

/** Reads program.bin and checks everything in it. Throws DataError; memory stays bounded whatever the bytes are. */
export async function decodeProgram(bytes: Uint8Array): Promise<Program> {
  const file = 'program';
  checkHeader(bytes, file, programMagic, headerBytes);
  const json = await inflateAll(bytes.subarray(headerBytes), maxJsonBytes, file);
  if (hex(await sha256(json)) !== hex(bytes.subarray(8, headerBytes))) throw bad(file, 'its hash does not match its content');
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(json));
  } catch (cause) {
    throw bad(file, 'is not JSON', cause);
  }
  const result = v.safeParse(programSchema, value);
  if (!result.success) throw bad(file, `${v.getDotPath(result.issues[0]) ?? ''}: ${result.issues[0].message}`);
  const program = result.output as Program;
  checkProgram(program);
  return program;
}

/** Numbers of weights and of biases of each linear layer, in the order of their `weights` index. */
function layerSizes(program: Program): readonly { weights: number; bias: number }[] {
  const sizes: { weights: number; bias: number }[] = [];
  for (const step of program.steps) {
    if (step.kind !== 'linear') continue;
    const g = step.geometry;
    sizes[step.weights] = {
      weights: (g.outputChannels * g.inputChannels * g.kernelHeight * g.kernelWidth) / g.groups,
      bias: g.outputChannels,
    };
  }
  return sizes;
}

/** weights.bin: header, the program's hash, SHA-256 of the words, the words (int32 or, in the ring of 64 bits, int64; little endian) deflated. */
export async function encodeWeights(weights: ProgramWeights, program: Program, codec = portableCodec): Promise<Uint8Array> {
  const sizes = layerSizes(program);
  const total = sizes.reduce((sum, s) => sum + s.weights + s.bias, 0);
  const long = isLong(program.ringBits);
  const body = new Uint8Array((long ? 8 : 4) * total);
  let at = 0;
  weights.layers.forEach((layer, i) => {
    const size = sizes[i];
    if (size === undefined || layer.weights.length !== size.weights || layer.bias.length !== size.bias)
      throw bad('weights', `layer ${i} does not fit the program`);
    for (const words of [layer.weights, layer.bias]) {
      if (words instanceof BigInt64Array !== long) throw bad('weights', `layer ${i} has words of another ring`);
      // As they lie in memory: WASM and every platform that runs it are little endian.
      body.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), at * words.BYTES_PER_ELEMENT);
      at += words.length;
    }
  });
  if (at !== total) throw bad('weights', 'layers are missing');
  return withHeader(weightsMagic, [await sha256(programJson(program)), await codec.sha256(body)], codec.deflate(body));
}

/** Reads weights.bin. Throws DataError when it is damaged or belongs to another program. */
export async function decodeWeights(bytes: Uint8Array, program: Program, codec = portableCodec): Promise<ProgramWeights> {
  const file = 'weights';
  checkHeader(bytes, file, weightsMagic, headerBytes + 32);
  if (hex(bytes.subarray(8, 40)) !== (await programHash(program))) throw bad(file, 'belong to another program');
  const sizes = layerSizes(program);
  const total = sizes.reduce((sum, s) => sum + s.weights + s.bias, 0);
  const bodyBytes = (isLong(program.ringBits) ? 8 : 4) * total;
  const body = new Uint8Array(bodyBytes);
  const found = await inflateParts(bytes.subarray(headerBytes + 32), bodyBytes, file, (part, at) => body.set(part, at), codec);
  if (found !== bodyBytes || hex(await codec.sha256(body)) !== hex(bytes.subarray(40, 72))) throw bad(file, 'are damaged');
  let at = 0;
  // Layers are views of one array: a copy of each would double the memory of large weights.
  const words = (count: number): Words => {
    const from = at;
    at += count;
    return isLong(program.ringBits) ? new BigInt64Array(body.buffer, 8 * from, count) : new Int32Array(body.buffer, 4 * from, count);
  };
  return { layers: sizes.map((s) => ({ weights: words(s.weights), bias: words(s.bias) })) };
}
