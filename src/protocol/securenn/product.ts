// The product z = x · y of shares, element by element: a square where both are the same. No truncation.
//
// Beaver's triple (Beaver 1991): a, b and a b are shared between client and server, a and b from the streams each of them has with the
// provider, and of a b the client's part:
//   offline  provider > server: c_s = a b - c_c
//   online   client > server and server > client, at once: their shares of e = x - a and f = y - b     (of a square e alone)
//            client: c_c + e b_c + f a_c      server: c_s + e b_s + f a_s + e f
//
// Simulators: each of the two sees e and f, padded by the other's part of a and b; the server sees c_s, padded by c_c. The provider sees
// nothing.
import type { Words } from '../../kernel/compute.js';
import type { ProductStep } from '../../model/program.js';
import { ringWords, runWords } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize, Operation, StepContext } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';

/** Draws of either with the provider: its part of a and b; of the client and the provider: c_c. */
const parts = { factors: 0, product: 1 } as const;

type Context = StepContext<Words>;
type Peer = 'client' | 'server' | 'provider';

/** The factors that are opened: one of a square, else both. */
const factors = ({ inputs }: ProductStep): readonly number[] => (inputs[0] === inputs[1] ? [inputs[0]!] : inputs);

function messages(step: ProductStep, environment: CostEnvironment): MessageSize[] {
  const bytes = (times: number) => packedBytes(times * environment.elements(step.output), environment.program.ringBits);
  const opened = bytes(factors(step).length);
  return [
    { phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes: bytes(1) },
    { phase: 'online', link: 'client>server', name: messageNames.masked, bytes: opened },
    { phase: 'online', link: 'server>client', name: messageNames.opening, bytes: opened },
  ];
}

const words = (context: Context, length: number): Words => ringWords(context.memory, context.program.ringBits, length);

async function drawn(context: Context, peer: Peer, part: number, length: number): Promise<Words> {
  const out = words(context, length);
  await context.draw(peer, part, out);
  return out;
}

const run = (context: Context, kernel: 'add' | 'sub' | 'product', out: Words, a: Words, b: Words): Promise<void> =>
  runWords(context.compute, kernel, out, [out, a, b], out.length);

async function send(context: Context, to: Peer, name: number, from: Words): Promise<void> {
  const message = payloadWriter(context, packedBytes(from.length, context.program.ringBits));
  await message.words(from, from.length, context.program.ringBits);
  context.send(to, name, message.done());
}

async function receive(context: Context, from: Peer, name: number, length: number): Promise<Words> {
  const { ringBits } = context.program;
  const message = payloadReader(context, await context.receive(from, name, packedBytes(length, ringBits)));
  const out = words(context, length);
  await message.words(out, length, ringBits);
  message.free();
  return out;
}

/** The runs of `all` that belong to each factor: the same one twice for a square. */
function halves(all: Words, count: number): readonly [Words, Words] {
  return [all.subarray(0, count), all.subarray(all.length - count)];
}

async function providerOffline(context: Context, step: ProductStep): Promise<void> {
  const count = context.elements(step.output);
  const length = factors(step).length * count;
  const sum = await drawn(context, 'client', parts.factors, length);
  const own = await drawn(context, 'server', parts.factors, length);
  await run(context, 'add', sum, sum, own);
  const result = words(context, count);
  await run(context, 'product', result, ...halves(sum, count));
  await run(context, 'sub', result, result, await drawn(context, 'client', parts.product, count));
  await send(context, 'server', messageNames.correlation, result);
  context.memory.free(sum, own, result);
}

interface Material {
  /** This party's part of a and b. */
  readonly masks: Words;
  /** This party's part of a b. */
  readonly product: Words;
}

async function offline(context: Context, step: ProductStep, own: 'client' | 'server'): Promise<Material> {
  const count = context.elements(step.output);
  const masks = await drawn(context, 'provider', parts.factors, factors(step).length * count);
  const product =
    own === 'client'
      ? await drawn(context, 'provider', parts.product, count)
      : await receive(context, 'provider', messageNames.correlation, count);
  return { masks, product };
}

/** Opens e and f; returns both, and adds e b + f a to this party's part of the product. */
async function online(context: Context, step: ProductStep, { masks, product }: Material, own: 'client' | 'server'): Promise<Words> {
  const count = product.length;
  const opened = words(context, masks.length);
  for (const [i, factor] of factors(step).entries()) {
    const at = i * count;
    const part = opened.subarray(at, at + count);
    await run(context, 'sub', part, context.value(factor), masks.subarray(at, at + count));
  }
  const [peer, sent, awaited] =
    own === 'client'
      ? (['server', messageNames.masked, messageNames.opening] as const)
      : (['client', messageNames.opening, messageNames.masked] as const);
  await send(context, peer, sent, opened);
  const other = await receive(context, peer, awaited, opened.length);
  await run(context, 'add', opened, opened, other);
  const [e, f] = halves(opened, count);
  const [a, b] = halves(masks, count);
  const term = other.subarray(0, count);
  for (const [left, right] of [
    [e, b],
    [f, a],
  ] as const) {
    await run(context, 'product', term, left, right);
    await run(context, 'add', product, product, term);
  }
  context.memory.free(masks, other);
  return opened;
}

async function clientOnline(context: Context, step: ProductStep, material: Material): Promise<void> {
  context.memory.free(await online(context, step, material, 'client'));
  context.give(step.output, material.product);
}

async function serverOnline(context: Context, step: ProductStep, material: Material): Promise<void> {
  const opened = await online(context, step, material, 'server');
  const [e, f] = halves(opened, material.product.length);
  const both = words(context, e.length);
  await run(context, 'product', both, e, f);
  await run(context, 'add', material.product, material.product, both);
  context.memory.free(opened, both);
  context.give(step.output, material.product);
}

export const product: Operation<ProductStep, Material, Material, void, Words> = {
  messages,
  rounds: () => 1,
  client: { offline: (context, step) => offline(context, step, 'client'), online: clientOnline },
  server: { offline: (context, step) => offline(context, step, 'server'), online: serverOnline },
  provider: { offline: providerOffline },
};
