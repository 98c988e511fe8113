// Convolution and fully connected layers on shares x = x_c + x_s; the weights W are the server's alone.
//
// B is a mask of the weights that server and provider draw, D = W - B is known to the client. Per inference the client and the provider draw
// a and r, masks of the input and of the output:
//   offline  provider > server: c = B * a - r
//            client: D * a + r is its share of the output already
//   online   client > server: x_c - a; the server adds x_s: e = x - a
//            server: W * e + bias + c                      (W * e + (B * a - r) + (D * a + r) = W * x)
//
// `reusable`: B serves as long as the weights are loaded, D is sent once a session. `beaver`: B serves one inference, whose D the server
// sends offline (server > client); this is Beaver's triple (a, B, B * a) with two of its three sharings drawn from seeds (Beaver 1991).
// Simulators: the server sees e, padded by a, and c, padded by r: two uniform tensors, new in every inference. The client sees D, padded by
// B: a uniform tensor, which it sees once for each B. The provider sees nothing. The client must never see B * a: with D it would give W * a.
import type { Words } from '../../kernel/compute.js';
import { convolve, freeWeights, packWeights } from '../../kernel/linear.js';
import { weightCount } from '../../kernel/tiling.js';
import type { LinearStep } from '../../model/program.js';
import { ringWords, runWords, setWords } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, LinearWeights, MessageSize, Operation, StepContext } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';

/** How the weights' mask B lives. */
export type WeightMasks = 'reusable' | 'beaver';

/** Draws: a and r with the provider (client's part), B of one inference (server's part). */
const parts = { input: 0, output: 1, weights: 2 } as const;

type Context = StepContext<Words>;
type Layer = Pick<LinearWeights, 'convolve'>;

function messages(masks: WeightMasks, step: LinearStep, environment: CostEnvironment): MessageSize[] {
  const bytes = (count: number) => packedBytes(count, environment.program.ringBits);
  const all: MessageSize[] = [
    { phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes: bytes(environment.elements(step.output)) },
    { phase: 'online', link: 'client>server', name: messageNames.masked, bytes: bytes(environment.elements(step.input)) },
  ];
  if (masks === 'beaver')
    all.push({ phase: 'offline', link: 'server>client', name: messageNames.difference, bytes: bytes(weightCount(step.geometry)) });
  return all;
}

const words = (context: Context, length: number): Words => ringWords(context.memory, context.program.ringBits, length);

async function drawn(context: Context, peer: 'client' | 'server' | 'provider', part: number, length: number): Promise<Words> {
  const out = words(context, length);
  await context.draw(peer, part, out);
  return out;
}

async function send(context: Context, to: 'client' | 'server', name: number, from: Words): Promise<void> {
  const message = payloadWriter(context, packedBytes(from.length, context.program.ringBits));
  await message.words(from, from.length, context.program.ringBits);
  context.send(to, name, message.done());
}

async function receive(context: Context, from: 'client' | 'server' | 'provider', name: number, length: number): Promise<Words> {
  const { ringBits } = context.program;
  const message = payloadReader(context, await context.receive(from, name, packedBytes(length, ringBits)));
  const out = words(context, length);
  await message.words(out, length, ringBits);
  message.free();
  return out;
}

/** Weights that serve one inference: packs them for as long as `use` runs. */
async function withWeights(context: Context, step: LinearStep, values: Words, use: (layer: Layer) => Promise<void>): Promise<void> {
  const packed = await packWeights(context.compute, step.geometry, values);
  context.memory.free(values);
  try {
    await use({
      convolve: (input, batch, output, addend) => convolve(context.compute, packed, input, batch, output, addend ? { addend } : {}),
    });
  } finally {
    freeWeights(context.compute, packed);
  }
}

interface ClientMaterial {
  readonly mask: Words;
  /** The client's share of the output. */
  readonly share: Words;
}

/** D * a + r. */
async function clientOffline(masks: WeightMasks, context: Context, step: LinearStep): Promise<ClientMaterial> {
  const mask = await drawn(context, 'provider', parts.input, context.elements(step.input));
  const r = await drawn(context, 'provider', parts.output, context.elements(step.output));
  const share = words(context, r.length);
  const multiply = (layer: Layer) => layer.convolve(mask, context.batch, share, r);
  if (masks === 'reusable') await multiply(context.weights(step.weights));
  else await withWeights(context, step, await receive(context, 'server', messageNames.difference, weightCount(step.geometry)), multiply);
  context.memory.free(r);
  return { mask, share };
}

async function clientOnline(context: Context, step: LinearStep, { mask, share }: ClientMaterial): Promise<void> {
  await runWords(context.compute, 'sub', mask, [mask, context.value(step.input), mask], mask.length);
  await send(context, 'server', messageNames.masked, mask);
  context.memory.free(mask);
  context.give(step.output, share);
}

/** c = B * a - r. */
async function providerOffline(masks: WeightMasks, context: Context, step: LinearStep): Promise<void> {
  const mask = await drawn(context, 'client', parts.input, context.elements(step.input));
  const r = await drawn(context, 'client', parts.output, context.elements(step.output));
  const product = words(context, r.length);
  const multiply = (layer: Layer) => layer.convolve(mask, context.batch, product);
  if (masks === 'reusable') await multiply(context.weights(step.weights));
  else await withWeights(context, step, await drawn(context, 'server', parts.weights, weightCount(step.geometry)), multiply);
  await runWords(context.compute, 'sub', r, [r, product, r], r.length);
  await send(context, 'server', messageNames.correlation, r);
  context.memory.free(mask, r, product);
}

/** Sends W - B of this inference, where B serves one; receives c. */
async function serverOffline(masks: WeightMasks, context: Context, step: LinearStep): Promise<Words> {
  if (masks === 'beaver') {
    const b = await drawn(context, 'provider', parts.weights, weightCount(step.geometry));
    const w = words(context, b.length);
    setWords(w, context.weights(step.weights).words!);
    await runWords(context.compute, 'sub', w, [w, w, b], w.length);
    await send(context, 'client', messageNames.difference, w);
    context.memory.free(b, w);
  }
  return receive(context, 'provider', messageNames.correlation, context.elements(step.output));
}

async function serverOnline(context: Context, step: LinearStep, c: Words): Promise<void> {
  const e = await receive(context, 'client', messageNames.masked, context.elements(step.input));
  await runWords(context.compute, 'add', e, [e, e, context.value(step.input)], e.length);
  const share = words(context, c.length);
  await context.weights(step.weights).convolve(e, context.batch, share, c);
  context.memory.free(e, c);
  context.give(step.output, share);
}

export const linear = (masks: WeightMasks): Operation<LinearStep, ClientMaterial, Words, void, Words> => ({
  messages: (step, environment) => messages(masks, step, environment),
  rounds: () => 1,
  // The client's share needs no message of the online phase.
  depths: (_step, _environment, { client, server }) => ({ client, server: Math.max(server, client + 1) }),
  client: { offline: (context, step) => clientOffline(masks, context, step), online: clientOnline },
  server: { offline: (context, step) => serverOffline(masks, context, step), online: serverOnline },
  provider: { offline: (context, step) => providerOffline(masks, context, step) },
});
