// The two ends of an inference: the client's masked picture going in, and the masked result coming out. Not steps of the program.
//
// input   online  client > server: x̃ = x + lambda, lambda drawn with the provider: a one-time pad to the server.
// output  offline provider > server: delta = target - mu, target drawn with the client (a sealed output only)
//         online  server > client: ỹ + delta = y + target; a hidden output goes as it is, the client knows its mask.
// Simulators: delta is padded by target, which the server lacks; the client receives y + target = its own result plus its own mask.
// The client never sees mu itself, which with its D would give it an equation on the weights.
import type { Words } from '../../kernel/compute.js';
import { ringWords, runWords, setWords } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize, StepContext } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';
import { isSealed } from './states.js';

const maskPart = 0;

const wordsOf = (context: StepContext, length: number): Words => ringWords(context.memory, context.program.ringBits, length);

const inputBytes = (environment: CostEnvironment): number =>
  packedBytes(environment.elements(environment.program.input), environment.program.ringBits);
const outputBytes = (environment: CostEnvironment): number =>
  packedBytes(environment.elements(environment.program.output), environment.program.ringBits);

export function inputMessages(environment: CostEnvironment): MessageSize[] {
  return [{ phase: 'online', link: 'client>server', name: messageNames.input, bytes: inputBytes(environment) }];
}

export function outputMessages(environment: CostEnvironment): MessageSize[] {
  const bytes = outputBytes(environment);
  const online: MessageSize = { phase: 'online', link: 'server>client', name: messageNames.output, bytes };
  if (!isSealed(environment, environment.program.output)) return [online];
  return [{ phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes }, online];
}

/** Client and provider, offline: the input's mask, which is the value they hold of it. The client keeps a copy to mask with. */
export async function drawInputMask(context: StepContext, peer: 'client' | 'provider'): Promise<Words> {
  const { input } = context.program;
  const mask = wordsOf(context, context.elements(input));
  await context.draw(peer, maskPart, mask);
  const own = wordsOf(context, mask.length);
  setWords(own, mask);
  context.give(input, own);
  return mask;
}

/** Client, online: masks the encoded pictures and sends them. */
export async function sendInput(context: StepContext, encoded: Words, mask: Words): Promise<void> {
  const { ringBits } = context.program;
  const words = wordsOf(context, mask.length);
  setWords(words, encoded);
  await runWords(context.compute, 'add', mask, [mask, mask, words], mask.length);
  context.memory.free(words);
  const message = payloadWriter(context, inputBytes(context));
  await message.words(mask, mask.length, ringBits);
  context.send('server', messageNames.input, message.done());
  context.memory.free(mask);
}

/** Client, instead of sendInput: says that the material is given up. */
export function giveUpInput(context: StepContext): void {
  context.send('server', messageNames.input, new Uint8Array(0));
}

/** Server, online: receives x̃; false when the client gave the inference up. */
export async function receiveInput(context: StepContext): Promise<boolean> {
  const { input, ringBits } = context.program;
  const payload = await context.receive('client', messageNames.input, inputBytes(context), true);
  if (payload.length === 0) return false;
  const message = payloadReader(context, payload);
  const words = wordsOf(context, context.elements(input));
  await message.words(words, words.length, ringBits);
  message.free();
  context.give(input, words);
  return true;
}

/** Client, offline: the mask of what it will receive. */
export async function drawOutputMask(context: StepContext): Promise<Words> {
  const { output } = context.program;
  const mask = wordsOf(context, context.elements(output));
  if (isSealed(context, output)) await context.draw('provider', maskPart, mask);
  else setWords(mask, context.value(output));
  return mask;
}

/** Provider, offline: delta for a sealed output. */
export async function dealOutput(context: StepContext): Promise<void> {
  const { output, ringBits } = context.program;
  if (!isSealed(context, output)) return;
  const delta = wordsOf(context, context.elements(output));
  await context.draw('client', maskPart, delta);
  await runWords(context.compute, 'sub', delta, [delta, delta, context.value(output)], delta.length);
  const message = payloadWriter(context, outputBytes(context));
  await message.words(delta, delta.length, ringBits);
  context.send('server', messageNames.correlation, message.done());
}

/** Server, offline: delta, or nothing. */
export async function receiveOutputShift(context: StepContext): Promise<Words | undefined> {
  const { output, ringBits } = context.program;
  if (!isSealed(context, output)) return undefined;
  const message = payloadReader(context, await context.receive('provider', messageNames.correlation, outputBytes(context)));
  const delta = wordsOf(context, context.elements(output));
  await message.words(delta, delta.length, ringBits);
  message.free();
  return delta;
}

/** Server, online: sends the result under the client's mask. */
export async function sendOutput(context: StepContext, delta: Words | undefined): Promise<void> {
  const { output, ringBits } = context.program;
  const words = context.value(output);
  if (delta) await runWords(context.compute, 'add', delta, [delta, delta, words], words.length);
  const message = payloadWriter(context, outputBytes(context));
  await message.words(delta ?? words, words.length, ringBits);
  context.send('client', messageNames.output, message.done());
}

/** Client, online: the result in plain ring words, sign-extended. */
export async function receiveOutput(context: StepContext, mask: Words): Promise<Words> {
  const { ringBits } = context.program;
  const message = payloadReader(context, await context.receive('server', messageNames.output, outputBytes(context)));
  const words = wordsOf(context, mask.length);
  await message.words(words, words.length, ringBits);
  message.free();
  await runWords(context.compute, 'differenceSigned', words, [words, words, mask, ringBits], words.length);
  return words.slice();
}
