// The two ends of an inference: the client's picture becomes shares, and the result's shares meet at the client. Not steps of the program.
//
// input   x = x_c + x_s, x_s drawn by client and server from the stream only they share: no byte travels. The client tells both others that
//         the inference starts (one byte), or that it is given up (none).
// output  online server > client: its share y_s.
// Simulators: the server's x_s is a fresh uniform word. The client's y_s is its own result less its own share.
import type { Words } from '../../kernel/compute.js';
import { ringWords, runWords, setWords, wrapWords } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize, StepContext } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';

const sharePart = 0;

/** What says that an inference starts. */
const startBytes = 1;

const outputBytes = (environment: CostEnvironment): number =>
  packedBytes(environment.elements(environment.program.output), environment.program.ringBits);

export function inputMessages(): MessageSize[] {
  return [
    { phase: 'online', link: 'client>server', name: messageNames.input, bytes: startBytes },
    { phase: 'online', link: 'client>provider', name: messageNames.start, bytes: startBytes },
  ];
}

export function outputMessages(environment: CostEnvironment): MessageSize[] {
  return [{ phase: 'online', link: 'server>client', name: messageNames.output, bytes: outputBytes(environment) }];
}

async function serverShare(context: StepContext<Words>, peer: 'client' | 'server'): Promise<Words> {
  const { input, ringBits } = context.program;
  const share = ringWords(context.memory, ringBits, context.elements(input));
  await context.draw(peer, sharePart, share);
  return share;
}

/** Client, offline: the server's share of the picture. The provider has none. */
export async function drawInputMask(context: StepContext<Words>, peer: 'client' | 'provider'): Promise<Words> {
  return peer === 'provider' ? serverShare(context, 'server') : context.memory.words(0);
}

/** Client, online: keeps the encoded pictures less the server's share, and says that the inference starts. */
export async function sendInput(context: StepContext<Words>, encoded: Words, share: Words): Promise<void> {
  const own = ringWords(context.memory, context.program.ringBits, share.length);
  setWords(own, encoded);
  await runWords(context.compute, 'sub', own, [own, own, share], own.length);
  context.memory.free(share);
  context.send('server', messageNames.input, new Uint8Array(startBytes));
  context.send('provider', messageNames.start, new Uint8Array(startBytes));
  context.give(context.program.input, own);
}

/** Client, instead of sendInput: says that the material is given up. */
export function giveUpInput(context: StepContext<Words>): void {
  context.send('server', messageNames.input, new Uint8Array(0));
  context.send('provider', messageNames.start, new Uint8Array(0));
}

/** Server, online: its share of the picture; false when the client gave the inference up. */
export async function receiveInput(context: StepContext<Words>): Promise<boolean> {
  const start = await context.receive('client', messageNames.input, startBytes, true);
  if (start.length === 0) return false;
  context.give(context.program.input, await serverShare(context, 'client'));
  return true;
}

/** Provider, online: false when the client gave the inference up. */
export async function joinOnline(context: StepContext<Words>): Promise<boolean> {
  return (await context.receive('client', messageNames.start, startBytes, true)).length > 0;
}

/** The client needs no mask for its result. */
export async function drawOutputMask(context: StepContext<Words>): Promise<Words> {
  return context.memory.words(0);
}

export async function dealOutput(): Promise<void> {}

export async function receiveOutputShift(): Promise<undefined> {}

/** Server, online: its share of the result. */
export async function sendOutput(context: StepContext<Words>): Promise<void> {
  const { output, ringBits } = context.program;
  const share = context.value(output);
  const message = payloadWriter(context, outputBytes(context));
  await message.words(share, share.length, ringBits);
  context.send('client', messageNames.output, message.done());
}

/** Client, online: the result in plain ring words, sign-extended. */
export async function receiveOutput(context: StepContext<Words>): Promise<Words> {
  const { output, ringBits } = context.program;
  const own = context.value(output);
  const message = payloadReader(context, await context.receive('server', messageNames.output, outputBytes(context)));
  const words = ringWords(context.memory, ringBits, own.length);
  await message.words(words, words.length, ringBits);
  message.free();
  await runWords(context.compute, 'add', words, [words, words, own], words.length);
  await wrapWords(context.compute, words, ringBits);
  return words.slice();
}
