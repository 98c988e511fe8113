// The messages that open a session, and how they are read: JSON with a schema, bounded in size, one typed error for anything else.
//
//   client > server    hello    version, suite, public key
//   server > provider  hello    version, suite, role, public key
//   provider > server  welcome  session id (fresh, 128 bits), public key
//   server > provider  program, dealer (id and seed of B, the seed under a pad from their agreed key)
//   server > client    welcome  session id, public key, hash, model info; then program, and D of every linear layer where the suite reuses it
//   client > provider  hello    version, role, session id, public key, program hash
//   provider > client  welcome  public key
import * as v from 'valibot';
import { DataError, PeerError } from '../errors.js';
import { decodeProgram } from '../model/files.js';
import type { Program } from '../model/program.js';
import type { Role } from '../protocol/operation.js';
import type { Channel } from '../wire/channel.js';

/** Version of everything that travels. Parties with different numbers refuse each other. */
export const protocolVersion = 2;

export const setupNames = { hello: 201, welcome: 202, program: 203, dealer: 204, difference: 205 } as const;

const hex = (bytes: number) => v.pipe(v.string(), v.regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`)));
const version = v.literal(protocolVersion);
const suite = v.pipe(v.string(), v.maxLength(32));

export const clientHelloSchema = v.strictObject({ version, suite, publicKey: hex(32) });
export const providerHelloSchema = v.variant('role', [
  v.strictObject({ version, role: v.literal('server'), suite, publicKey: hex(32) }),
  v.strictObject({ version, role: v.literal('client'), session: hex(16), publicKey: hex(32), hash: hex(32) }),
]);
export const providerWelcomeSchema = v.strictObject({ version, session: v.optional(hex(16)), publicKey: hex(32) });

const numbers = v.pipe(v.array(v.pipe(v.number(), v.finite())), v.maxLength(64));
/** What everybody may know about a model beside its program: how pictures become its input, and what its outputs are called. */
export const modelInfoSchema = v.object({
  name: v.pipe(v.string(), v.maxLength(200)),
  classes: v.optional(v.pipe(v.array(v.pipe(v.string(), v.maxLength(200))), v.maxLength(100_000))),
  preprocess: v.optional(
    v.object({
      resize: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(16384))),
      crop: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(16384))),
      mean: v.optional(numbers),
      std: v.optional(numbers),
      channels: v.optional(v.picklist(['rgb', 'bgr', 'gray'])),
    }),
  ),
});
export type ModelInfo = v.InferOutput<typeof modelInfoSchema>;

export const serverWelcomeSchema = v.strictObject({
  version,
  suite,
  session: hex(16),
  publicKey: hex(32),
  hash: hex(32),
  info: modelInfoSchema,
});

/** Largest JSON message of the setup (ImageNet's class names take 20 kB), and largest program. */
const maxJsonBytes = 16 << 20;
export const maxProgramBytes = 64 << 20;

const label = (name: number, step = 0) => ({ inference: 0, step, name });

export function sendSetup(channel: Channel, name: number, payload: Uint8Array, step = 0): void {
  channel.send(label(name, step), payload, 'setup', 0);
}

export function sendJson(channel: Channel, name: number, value: unknown): void {
  sendSetup(channel, name, new TextEncoder().encode(JSON.stringify(value)));
}

/** The program a server offers, checked. Rejects with PeerError when it cannot be used. */
export async function receiveProgram(channel: Channel): Promise<Program> {
  const bytes = await receiveSetup(channel, setupNames.program, maxProgramBytes);
  try {
    return await decodeProgram(bytes);
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw new PeerError(`the server sent a program that cannot be used: ${cause.message}`, {
      code: 'wrong-program',
      hint: 'both sides must run the same version of Tessera',
      cause,
    });
  }
}

export async function receiveSetup(channel: Channel, name: number, maxBytes: number, step = 0): Promise<Uint8Array> {
  return (await channel.receive(label(name, step), { maxBytes })).payload;
}

/** A JSON message of the setup, checked against its schema. Rejects with PeerError when it does not fit. */
export async function receiveJson<T>(channel: Channel, name: number, from: Role, schema: v.GenericSchema<unknown, T>): Promise<T> {
  const payload = await receiveSetup(channel, name, maxJsonBytes);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch (cause) {
    throw misread(from, 'is not JSON', cause);
  }
  const theirs = (value as { version?: unknown } | null)?.version;
  if (theirs !== protocolVersion) {
    throw new PeerError(`the ${from} speaks version ${String(theirs).slice(0, 20)} of the protocol, this is version ${protocolVersion}`, {
      code: 'version',
      hint: 'install the same version of Tessera on all three hosts',
    });
  }
  const result = v.safeParse(schema, value);
  if (!result.success) throw misread(from, result.issues[0].message);
  return result.output;
}

function misread(from: Role, why: string, cause?: unknown): PeerError {
  return new PeerError(`cannot read the ${from}'s greeting: it ${why}`, {
    code: 'bad-hello',
    hint: 'is that address a Tessera party?',
    cause,
  });
}

export const toHex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
export const fromHex = (text: string): Uint8Array => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** Control payloads: unsigned 32-bit words, little endian. */
export function u32(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    view.setUint32(4 * i, value, true);
  });
  return bytes;
}

/** Checks the number of an inference: it labels stream addresses, so none may come twice. Throws PeerError. */
export function checkNumber(number: number, last: number, from: Role): void {
  if (number <= last)
    throw new PeerError(`the ${from} numbers an inference ${number} after ${last}`, {
      code: 'bad-number',
      hint: 'both sides must run the same version of Tessera',
    });
}

/** Checks the size of a batch that a peer asks for. Throws PeerError. */
export function checkBatch(batch: number, most = 64, from: Role): void {
  if (batch < 1 || batch > most)
    throw new PeerError(`the ${from} asks for a batch of ${batch} images, 1 to ${most} are taken here`, {
      code: 'bad-batch',
      hint: 'send smaller batches, or have the limit raised (--max-batch)',
    });
}

/** Throws PeerError when the message is too short. */
export function readU32(bytes: Uint8Array, index: number): number {
  if (bytes.length < 4 * (index + 1)) throw new PeerError('a control message is too short', { code: 'wrong-size' });
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4 * index, true);
}
