// Truncation of shares x = x_c + x_s by f bits, as a step of its own and at the end of others (relu.ts).
//
// `local` (SecureML, Mohassel and Zhang 2017, section 4.1): the client shifts its share, the server the negative of its own. The result is
// floor(x / 2^f) or one unit more, but for a probability of |x| / 2^k an element, with which it is off by 2^(k-f): below 2^-30 where k = 64
// and |x| < 2^34, and once in 64 elements where k = 32 and |x| is near 2^26. No messages.
//
// `exact` (a slack bit, Escudero et al., Crypto 2020, section 5): the value is opened to the server under a mask R = R_c + R_s that neither
// of the two knows; floor(x / 2^f) or one unit more, always, for |x| < 2^(k-2).
//   u = x + 2^(k-2) + R;  A = (u >> f) - 2^(k-2-f);  b = 1 - msb(u);  trunc(x) = A - (R >> f) + 2^(k-f) b msb(R)
//   offline  client and provider draw R_c, h_c (k bits) and t_c; server and provider draw R_s
//            provider > server: h_s = (R >> f) - h_c (k bits) and t_s = msb(R) - t_c (f bits)
//   online   client > server: x_c + R_c; server > client: b.   Client: -h_c + 2^(k-f) b t_c. Server: A - h_s + 2^(k-f) b t_s.
// Simulators: the server sees x + R, padded by R_c, and h_s, t_s, padded by h_c, t_c: uniform words. The client sees b, a bit of a value
// under R_s, which it lacks: a fresh uniform u gives it.
import type { Words } from '../../kernel/compute.js';
import { sizeOf } from '../../model/graph.js';
import type { Program, TruncateStep } from '../../model/program.js';
import { ringWords, runWords, setZero } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, Depths, MessageSize, Operation, Role, StepContext } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter, planeStride } from '../packing.js';

/** What relu.ts and the step of its own see of a way to truncate `count` words by `bits` bits. Once a step and inference. */
export interface Truncation {
  messages(environment: CostEnvironment, count: number, bits: number): MessageSize[];
  /** Messages in a row. */
  rounds(bits: number): number;
  depths(bits: number, before: Depths): Depths;
  readonly client: TruncationPart;
  readonly server: TruncationPart;
  readonly provider: Pick<TruncationPart, 'offline'>;
}

export interface TruncationPart {
  /** What `online` needs; before any input exists. */
  offline(context: StepContext<Words>, count: number, bits: number): Promise<TruncationMaterial | undefined>;
  /** Truncates a share in place. */
  online(context: StepContext<Words>, share: Words, bits: number, material: TruncationMaterial | undefined): Promise<void>;
}

/** A party's shares for one truncation; none for the local one. */
export interface TruncationMaterial {
  readonly mask: Words;
  readonly high: Words;
  readonly carry: Words;
}

const nothing = async () => undefined;

async function negate(context: StepContext<Words>, share: Words): Promise<void> {
  await runWords(context.compute, 'scale', share, [share, share, -1], share.length);
}

async function shift(context: StepContext<Words>, share: Words, bits: number): Promise<void> {
  await runWords(context.compute, 'shift', share, [share, share, context.program.ringBits, bits], share.length);
}

/**
 * The most local truncations of a picture that are expected to fail: Σ |x| / 2^k over the elements that are truncated, with |x| < 2^(high − 1)
 * of a ReLU's window, and 2^(R − 2) where values use R bits of the ring and nothing is compared. ResNet-20's own values give a 26th of it.
 */
export function localFailures({ steps, tensors, ringBits, rangeBits = ringBits }: Program): number {
  let failures = 0;
  for (const step of steps) {
    if ((step.kind !== 'relu' && step.kind !== 'truncate') || step.truncateBits === 0) continue;
    const bits = step.kind === 'relu' ? Math.min(step.window.high - 1, rangeBits - 2) : rangeBits - 2;
    failures += sizeOf(tensors[step.input]!.shape) * 2 ** (bits - ringBits);
  }
  return failures;
}

export const localTruncation: Truncation = {
  messages: () => [],
  rounds: () => 0,
  depths: (_bits, before) => before,
  client: {
    offline: nothing,
    async online(context, share, bits) {
      if (bits > 0) await shift(context, share, bits);
    },
  },
  server: {
    offline: nothing,
    async online(context, share, bits) {
      if (bits === 0) return;
      await negate(context, share);
      await shift(context, share, bits);
      await negate(context, share);
    },
  },
  provider: { offline: nothing },
};

/** Draws of a truncation, clear of those of the step it is part of. */
const parts = { mask: 200, high: 201, carry: 202, serverMask: 203 } as const;

const wordsOf = (context: StepContext<Words>, count: number): Words => ringWords(context.memory, context.program.ringBits, count);

const packed = (environment: CostEnvironment, count: number) => packedBytes(count, environment.program.ringBits);

async function drawn(context: StepContext<Words>, peer: Role, part: number, count: number): Promise<Words> {
  const out = wordsOf(context, count);
  await context.draw(peer, part, out);
  return out;
}

/** R_c, h_c and t_c. */
const drawClient = async (context: StepContext<Words>, peer: 'client' | 'provider', count: number): Promise<TruncationMaterial> => ({
  mask: await drawn(context, peer, parts.mask, count),
  high: await drawn(context, peer, parts.high, count),
  carry: await drawn(context, peer, parts.carry, count),
});

async function dealTruncation(context: StepContext<Words>, count: number, bits: number): Promise<undefined> {
  if (bits === 0) return;
  const { ringBits } = context.program;
  const { mask, high, carry } = await drawClient(context, 'client', count);
  const own = await drawn(context, 'server', parts.serverMask, count);
  await runWords(context.compute, 'add', mask, [mask, mask, own], count);
  await runWords(context.compute, 'shareTruncation', mask, [mask, 0, high, carry, ringBits, bits], count);
  const message = payloadWriter(context, packed(context, count) + packedBytes(count, bits));
  await message.words(high, count, ringBits);
  await message.words(carry, count, bits);
  context.send('server', messageNames.truncation, message.done());
  context.memory.free(mask, high, carry, own);
}

async function receiveDealt(context: StepContext<Words>, count: number, bits: number): Promise<TruncationMaterial | undefined> {
  if (bits === 0) return;
  const mask = await drawn(context, 'provider', parts.serverMask, count);
  const [high, carry] = [wordsOf(context, count), wordsOf(context, count)];
  const bytes = packed(context, count) + packedBytes(count, bits);
  const message = payloadReader(context, await context.receive('provider', messageNames.truncation, bytes));
  await message.words(high, count, context.program.ringBits);
  await message.words(carry, count, bits);
  message.free();
  return { mask, high, carry };
}

/** share = base + 2^(k-f) b t, for the bits b of a plane and a party's share t. */
async function addCarry(
  context: StepContext<Words>,
  share: Words,
  base: Words,
  carry: Words,
  plane: Uint8Array,
  bits: number,
): Promise<void> {
  setZero(share);
  await runWords(context.compute, 'addWhereBit', share, [share, share, carry, plane], share.length, { grain: 128 });
  await runWords(context.compute, 'addShifted', share, [share, base, share, context.program.ringBits - bits], share.length);
}

async function clientOnline(
  context: StepContext<Words>,
  share: Words,
  bits: number,
  material: TruncationMaterial | undefined,
): Promise<void> {
  if (!material) return;
  const { mask, high, carry } = material;
  const count = share.length;
  await runWords(context.compute, 'add', mask, [mask, mask, share], count);
  const message = payloadWriter(context, packed(context, count));
  await message.words(mask, count, context.program.ringBits);
  context.send('server', messageNames.truncationOpening, message.done());
  await negate(context, high);
  const plane = context.memory.bytes(planeStride(count));
  plane.set(await context.receive('server', messageNames.truncationBits, packedBytes(count, 1)));
  await addCarry(context, share, high, carry, plane, bits);
  context.memory.free(mask, high, carry, plane);
}

async function serverOnline(
  context: StepContext<Words>,
  share: Words,
  bits: number,
  material: TruncationMaterial | undefined,
): Promise<void> {
  if (!material) return;
  const { mask, high, carry } = material;
  const { ringBits } = context.program;
  const count = share.length;
  const message = payloadReader(context, await context.receive('client', messageNames.truncationOpening, packed(context, count)));
  const opened = wordsOf(context, count);
  await message.words(opened, count, ringBits);
  message.free();
  await runWords(context.compute, 'add', opened, [opened, opened, share], count);
  await runWords(context.compute, 'add', opened, [opened, opened, mask], count);
  await shift(context, opened, bits);
  const plane = context.memory.bytes(planeStride(count));
  await runWords(context.compute, 'slackPlane', opened, [plane, opened, ringBits - bits], count, { grain: 128 });
  context.send('client', messageNames.truncationBits, plane.subarray(0, packedBytes(count, 1)));
  await runWords(context.compute, 'subQuarter', opened, [opened, opened, high, ringBits - bits], count);
  await addCarry(context, share, opened, carry, plane, bits);
  context.memory.free(mask, high, carry, opened, plane);
}

export const exactTruncation: Truncation = {
  messages(environment, count, bits) {
    if (bits === 0) return [];
    const dealt = packed(environment, count) + packedBytes(count, bits);
    return [
      { phase: 'offline', link: 'provider>server', name: messageNames.truncation, bytes: dealt },
      { phase: 'online', link: 'client>server', name: messageNames.truncationOpening, bytes: packed(environment, count) },
      { phase: 'online', link: 'server>client', name: messageNames.truncationBits, bytes: packedBytes(count, 1) },
    ];
  },
  rounds: (bits) => (bits === 0 ? 0 : 2),
  depths(bits, before) {
    if (bits === 0) return before;
    const server = Math.max(before.server, before.client + 1);
    return { client: server + 1, server };
  },
  client: {
    offline: async (context, count, bits) => (bits === 0 ? undefined : drawClient(context, 'provider', count)),
    online: clientOnline,
  },
  server: { offline: receiveDealt, online: serverOnline },
  provider: { offline: dealTruncation },
};

/** A step that truncates: a share of the input is copied, as others may read it too. */
export function truncate(
  truncation: Truncation,
): Operation<TruncateStep, TruncationMaterial | undefined, TruncationMaterial | undefined, void, Words> {
  const part = (own: TruncationPart) => ({
    offline: (context: StepContext<Words>, step: TruncateStep) => own.offline(context, context.elements(step.input), step.truncateBits),
    async online(context: StepContext<Words>, step: TruncateStep, material: TruncationMaterial | undefined) {
      const share = ringWords(context.memory, context.program.ringBits, context.elements(step.input));
      await runWords(context.compute, 'scale', share, [share, context.value(step.input), 1], share.length);
      await own.online(context, share, step.truncateBits, material);
      context.give(step.output, share);
    },
  });
  return {
    messages: (step, environment) => truncation.messages(environment, environment.elements(step.input), step.truncateBits),
    rounds: (step) => truncation.rounds(step.truncateBits),
    depths: (step, _environment, before) => truncation.depths(step.truncateBits, before),
    client: part(truncation.client),
    server: part(truncation.server),
    provider: {
      offline: async (context, step) => void (await truncation.provider.offline(context, context.elements(step.input), step.truncateBits)),
    },
  };
}
