// Truncation of a whole layer without an activation: sealed or hidden in, hidden out. Formulas and simulators in identity.ts.
import type { Words } from '../../kernel/compute.js';
import type { TruncateStep } from '../../model/program.js';
import { ringWords, runWords } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize, Operation, StepContext } from '../operation.js';
import { carve, carvedBytes, payloadReader, payloadWriter, planeStride } from '../packing.js';
import * as identity from './identity.js';

const parts = { shares: 0, opening: 2 } as const;

const sizes = (step: TruncateStep, environment: CostEnvironment) =>
  identity.identityBytes(environment.elements(step.input), environment.program.ringBits, step.truncateBits);

function messages(step: TruncateStep, environment: CostEnvironment): MessageSize[] {
  const size = sizes(step, environment);
  return [
    { phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes: size.correlation },
    { phase: 'online', link: 'server>client', name: messageNames.opening, bytes: size.opening },
    { phase: 'online', link: 'client>server', name: messageNames.answer, bytes: size.answer },
  ];
}

/** Draws t_c, lambda0, lambda1 and gives the output its mask. */
async function drawAndMask(context: StepContext, step: TruncateStep, peer: 'client' | 'provider'): Promise<Uint8Array[]> {
  const count = context.elements(step.input);
  const all = identity.identityDrawSizes(count, context.program.ringBits);
  const whole = context.memory.bytes(carvedBytes(all));
  await context.draw(peer, parts.shares, whole);
  const drawn = carve(whole, all);
  context.give(step.output, await identity.identityMask(context, count, step.truncateBits, drawn));
  return drawn;
}

/** The input under the opening's own mask c, which the client lacks. */
async function underOpeningMask(context: StepContext, step: TruncateStep, mask: Words): Promise<void> {
  await runWords(context.compute, 'add', mask, [mask, mask, context.value(step.input)], mask.length);
}

async function openingMask(context: StepContext, step: TruncateStep, peer: 'server' | 'provider'): Promise<Words> {
  const mask = ringWords(context.memory, context.program.ringBits, context.elements(step.input));
  await context.draw(peer, parts.opening, mask);
  return mask;
}

async function providerOffline(context: StepContext, step: TruncateStep): Promise<void> {
  const drawn = await drawAndMask(context, step, 'client');
  const mu = await openingMask(context, step, 'server');
  await underOpeningMask(context, step, mu);
  const message = payloadWriter(context, sizes(step, context).correlation);
  await identity.dealIdentity(context, mu, mu.length, step.truncateBits, drawn, message);
  context.send('server', messageNames.correlation, message.done());
}

interface ServerMaterial {
  readonly mask: Words;
  readonly shares: identity.IdentityShares;
}

async function serverOffline(context: StepContext, step: TruncateStep): Promise<ServerMaterial> {
  const mask = await openingMask(context, step, 'provider');
  const message = payloadReader(context, await context.receive('provider', messageNames.correlation, sizes(step, context).correlation));
  const shares = await identity.readIdentity(context, mask.length, step.truncateBits, message);
  message.free();
  return { mask, shares };
}

async function serverOnline(context: StepContext, step: TruncateStep, { mask, shares }: ServerMaterial): Promise<void> {
  await underOpeningMask(context, step, mask);
  const size = sizes(step, context);
  const opening = await identity.identityOpening(context, mask, mask.length, step.truncateBits);
  context.send('client', messageNames.opening, opening.plane.subarray(0, size.opening));
  const answer = payloadReader(context, await context.receive('client', messageNames.answer, size.answer));
  const e = ringWords(context.memory, context.program.ringBits, mask.length);
  await answer.words(e, mask.length, step.truncateBits);
  context.give(step.output, await identity.identityResult(context, opening, shares, e, mask.length, step.truncateBits));
}

async function clientOnline(context: StepContext, step: TruncateStep, drawn: Uint8Array[]): Promise<void> {
  const count = context.elements(step.input);
  const size = sizes(step, context);
  const plane = context.memory.bytes(planeStride(count));
  plane.set(await context.receive('server', messageNames.opening, size.opening));
  const answer = payloadWriter(context, size.answer);
  await answer.words(await identity.identityAnswer(context, plane, count, drawn), count, step.truncateBits);
  context.send('server', messageNames.answer, answer.done());
}

export const truncate: Operation<TruncateStep, Uint8Array[], ServerMaterial, void> = {
  messages,
  rounds: () => 2,
  client: { offline: (context, step) => drawAndMask(context, step, 'provider'), online: clientOnline },
  server: { offline: serverOffline, online: serverOnline, putsOff: true },
  provider: { offline: providerOffline },
};
