// The product z = x · y of two hidden tensors, element by element: a square where both are the same. Hidden output, no truncation.
//
// The server holds X = x + a and Y = y + b, client and provider hold a and b. Server and provider draw u and v, client and provider s and
// the output's mask t:
//   offline  provider > server: c = -(u b + v a) - s          (of a square: -2 u a - s)
//   online   server > client: e = X - u and f = Y - v         (of a square e alone)
//            client > server: a b - e b - f a + s + t
//            server: adds X Y + c:   X Y - X b - Y a + a b + t = x y + t
//
// Simulators: the client sees e and f, padded by u and v, of which it has no part. The server sees c, padded by s, and one tensor more, padded
// by t. (Beaver 1991, with the masks that are there already in the place of two of the triple's parts.)
import type { Words } from '../../kernel/compute.js';
import type { ProductStep } from '../../model/program.js';
import { ringWords, runWords } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize, Operation, StepContext } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';

/** Draws: u and v of server and provider; s and t of client and provider. */
const parts = { openings: 0, pad: 1, output: 2 } as const;

type Context = StepContext<Words>;
type Peer = 'client' | 'server' | 'provider';

/** The factors that are masked and sent: one of a square, else both. */
const factors = ({ inputs }: ProductStep): readonly number[] => (inputs[0] === inputs[1] ? [inputs[0]!] : inputs);

/** The factor each opened one is multiplied with. */
const others = (step: ProductStep): readonly number[] => factors(step).map((_, i) => step.inputs[1 - i]!);

const bytesOf = (step: ProductStep, environment: CostEnvironment, times = 1): number =>
  packedBytes(times * environment.elements(step.output), environment.program.ringBits);

function messages(step: ProductStep, environment: CostEnvironment): MessageSize[] {
  return [
    { phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes: bytesOf(step, environment) },
    { phase: 'online', link: 'server>client', name: messageNames.opening, bytes: bytesOf(step, environment, factors(step).length) },
    { phase: 'online', link: 'client>server', name: messageNames.result, bytes: bytesOf(step, environment) },
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

/** sum -= Σ opened[i] · masks[i], the masks of the other factors; twice for a square, whose two terms are alike. */
async function subtractTerms(context: Context, opened: Words, masks: readonly Words[], sum: Words): Promise<void> {
  const term = words(context, sum.length);
  for (const [i, mask] of masks.entries()) {
    await run(context, 'product', term, opened.subarray(i * sum.length, (i + 1) * sum.length), mask);
    for (let times = masks.length; times <= 2; times++) await run(context, 'sub', sum, sum, term);
  }
  context.memory.free(term);
}

const otherMasks = (context: Context, step: ProductStep): readonly Words[] => others(step).map((id) => context.value(id));

async function providerOffline(context: Context, step: ProductStep): Promise<void> {
  const count = context.elements(step.output);
  const openings = await drawn(context, 'server', parts.openings, factors(step).length * count);
  const sum = await drawn(context, 'client', parts.pad, count);
  await runWords(context.compute, 'scale', sum, [sum, sum, -1], count);
  await subtractTerms(context, openings, otherMasks(context, step), sum);
  await send(context, 'server', messageNames.correlation, sum);
  context.memory.free(openings, sum);
  context.give(step.output, await drawn(context, 'client', parts.output, count));
}

interface ClientMaterial {
  /** s + t + a b: all the client adds to what it computes online. */
  readonly sum: Words;
  /** Masks of the other factors. */
  readonly masks: readonly Words[];
}

async function clientOffline(context: Context, step: ProductStep): Promise<ClientMaterial> {
  const count = context.elements(step.output);
  const sum = await drawn(context, 'provider', parts.pad, count);
  const mask = await drawn(context, 'provider', parts.output, count);
  const product = words(context, count);
  await run(context, 'product', product, context.value(step.inputs[0]!), context.value(step.inputs[1]!));
  await run(context, 'add', sum, sum, product);
  await run(context, 'add', sum, sum, mask);
  context.memory.free(product);
  context.give(step.output, mask);
  // Masks live as long as the offline phase reads them; these are read online.
  const masks: Words[] = [];
  for (const own of otherMasks(context, step)) {
    const copy = words(context, count);
    await runWords(context.compute, 'scale', copy, [copy, own, 1], count);
    masks.push(copy);
  }
  return { sum, masks };
}

async function clientOnline(context: Context, step: ProductStep, { sum, masks }: ClientMaterial): Promise<void> {
  const opened = await receive(context, 'server', messageNames.opening, factors(step).length * sum.length);
  await subtractTerms(context, opened, masks, sum);
  await send(context, 'server', messageNames.result, sum);
  context.memory.free(opened, sum, ...masks);
}

interface ServerMaterial {
  readonly openings: Words;
  /** c */
  readonly correction: Words;
}

async function serverOffline(context: Context, step: ProductStep): Promise<ServerMaterial> {
  const count = context.elements(step.output);
  return {
    openings: await drawn(context, 'provider', parts.openings, factors(step).length * count),
    correction: await receive(context, 'provider', messageNames.correlation, count),
  };
}

async function serverOnline(context: Context, step: ProductStep, { openings, correction }: ServerMaterial): Promise<void> {
  const count = correction.length;
  for (const [i, factor] of factors(step).entries()) {
    const own = openings.subarray(i * count, (i + 1) * count);
    await run(context, 'sub', own, context.value(factor), own);
  }
  await send(context, 'client', messageNames.opening, openings);
  const product = words(context, count);
  await run(context, 'product', product, context.value(step.inputs[0]!), context.value(step.inputs[1]!));
  await run(context, 'add', product, product, correction);
  const answer = await receive(context, 'client', messageNames.result, count);
  await run(context, 'add', product, product, answer);
  context.memory.free(openings, correction, answer);
  context.give(step.output, product);
}

export const product: Operation<ProductStep, ClientMaterial, ServerMaterial, void, Words> = {
  messages,
  rounds: () => 2,
  client: { offline: clientOffline, online: clientOnline },
  server: { offline: serverOffline, online: serverOnline, putsOff: true },
  provider: { offline: providerOffline },
};
