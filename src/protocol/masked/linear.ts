// Convolution and fully connected layers on a hidden input; the output is sealed.
//
// Once per loaded model B is drawn by server and provider, and D = W - B goes to the client (setup). Per inference, with x̃ = x + lambda:
//   offline  client: u0 = D * lambda, sends c0 = rho - u0 with rho drawn with the provider
//            provider: mask of the output mu = rho + B * lambda
//   online   server: ỹ = W * x̃ + bias + c0 = y + mu          (W * lambda = u0 + B * lambda)
//
// One plaintext-shaped integer convolution with the server's own weights is the whole online cost. Simulators: the server's c0 is padded by
// rho; the client's D is padded by B (drawn anew whenever weights are loaded, and sent once). The client must never see rho + B * lambda;
// whoever opens ỹ to it adds a mask the client lacks first (relu.ts, truncate.ts, output.ts).
import type { Words } from '../../kernel/compute.js';
import type { LinearStep } from '../../model/program.js';
import { ringWords, runWords } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize, Operation, StepContext } from '../operation.js';
import { packedBytes, payloadReader, payloadWriter } from '../packing.js';

const rhoPart = 0;

const words = (context: StepContext, length: number): Words => ringWords(context.memory, context.program.ringBits, length);

function messages(step: LinearStep, environment: CostEnvironment): MessageSize[] {
  const bytes = packedBytes(environment.elements(step.output), environment.program.ringBits);
  return [{ phase: 'offline', link: 'client>server', name: messageNames.maskedProduct, bytes }];
}

async function clientOffline(context: StepContext, step: LinearStep): Promise<void> {
  const { compute, memory, program } = context;
  const count = context.elements(step.output);
  const rho = words(context, count);
  const product = words(context, count);
  await context.draw('provider', rhoPart, rho);
  await context.weights(step.weights).convolve(context.value(step.input), context.batch, product);
  await runWords(compute, 'sub', rho, [rho, rho, product], count);
  const message = payloadWriter(context, packedBytes(count, program.ringBits));
  await message.words(rho, count, program.ringBits);
  context.send('server', messageNames.maskedProduct, message.done());
  memory.free(rho, product);
}

async function providerOffline(context: StepContext, step: LinearStep): Promise<void> {
  const count = context.elements(step.output);
  const rho = words(context, count);
  const mu = words(context, count);
  await context.draw('client', rhoPart, rho);
  await context.weights(step.weights).convolve(context.value(step.input), context.batch, mu, rho);
  context.memory.free(rho);
  context.give(step.output, mu);
}

async function serverOffline(context: StepContext, step: LinearStep): Promise<Words> {
  const { ringBits } = context.program;
  const count = context.elements(step.output);
  const message = payloadReader(context, await context.receive('client', messageNames.maskedProduct, packedBytes(count, ringBits)));
  const c0 = words(context, count);
  await message.words(c0, count, ringBits);
  message.free();
  return c0;
}

async function serverOnline(context: StepContext, step: LinearStep, c0: Words): Promise<void> {
  const y = words(context, c0.length);
  await context.weights(step.weights).convolve(context.value(step.input), context.batch, y, c0);
  context.memory.free(c0);
  context.give(step.output, y);
}

export const linear: Operation<LinearStep, void, Words, void> = {
  messages,
  rounds: () => 0,
  client: { offline: clientOffline },
  server: { offline: serverOffline, online: serverOnline, putsOff: true },
  provider: { offline: providerOffline },
};
