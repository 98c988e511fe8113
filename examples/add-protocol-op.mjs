// A protocol operation of one's own, in a suite of one's own:  node examples/add-protocol-op.mjs
// It replaces the sum of the masked suite by one whose result has a fresh mask. Inside the repository an operation is such a file in
// src/protocol/masked and a line in its suite's table; see docs/extending.md.
import { createNodeCompute } from 'tessera/kernel/pool.node';
import { openLocalSession } from 'tessera/party/local';
import { addSuite } from 'tessera/party/session';
import { estimate } from 'tessera/protocol/estimate';
import { masked } from 'tessera/protocol/masked/suite';
import { messageNames } from 'tessera/protocol/messages';

/**
 * @typedef {import('tessera/protocol/operation').StepContext<Int32Array>} Context
 * @typedef {import('tessera/model/program').AddStep} Step
 */

/**
 * Σ factors · inputs of what this party holds: masked values at the server, masks at the others.
 * @param {Context} context
 * @param {Step} step
 */
function sum(context, step) {
  const out = context.memory.words(context.elements(step.output)).fill(0);
  for (const [i, input] of step.inputs.entries()) {
    const [words, factor] = [context.value(input), step.factors[i] ?? 0];
    for (let j = 0; j < out.length; j++) out[j] = (out[j] ?? 0) + Math.imul(factor, words[j] ?? 0);
  }
  return out;
}

/**
 * The fresh mask of the result, which client and provider draw from the stream they share.
 * @param {Context} context
 * @param {Step} step
 * @param {'client' | 'provider'} peer
 */
async function giveFreshMask(context, step, peer) {
  const mask = context.memory.words(context.elements(step.output));
  await context.draw(peer, 0, mask);
  context.give(step.output, mask);
  return mask;
}

/** @param {Int32Array} words */
const bytesOf = (words) => new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

/**
 * Hidden in, hidden out: the provider sends delta = (new mask) − Σ factors · (old masks) beforehand, and the server adds it.
 * Simulator: the server sees delta, which is uniform because the new mask is fresh; client and provider receive nothing.
 * @type {import('tessera/protocol/operation').Operation<Step, void, Uint8Array, void, Int32Array>}
 */
const freshSum = {
  messages: (step, environment) => [
    { phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes: 4 * environment.elements(step.output) },
  ],
  rounds: () => 0,
  client: {
    offline: async (context, step) => {
      await giveFreshMask(context, step, 'provider');
    },
  },
  provider: {
    offline: async (context, step) => {
      const delta = sum(context, step);
      const mask = await giveFreshMask(context, step, 'client');
      for (let j = 0; j < delta.length; j++) delta[j] = (mask[j] ?? 0) - (delta[j] ?? 0);
      context.send('server', messageNames.correlation, bytesOf(delta));
    },
  },
  server: {
    offline: (context, step) => context.receive('provider', messageNames.correlation, 4 * context.elements(step.output)),
    online: async (context, step, received) => {
      const delta = new Int32Array(received.slice().buffer);
      const out = sum(context, step);
      for (let j = 0; j < out.length; j++) out[j] = (out[j] ?? 0) + (delta[j] ?? 0);
      context.give(step.output, out);
    },
  },
};

const fresh = { ...masked, name: 'fresh', operations: { ...masked.operations, add: /** @type {any} */ (freshSum) } };
addSuite(fresh);

// A program of one step, 3 · x on four values, for which ONNX is not needed. All scales are 1.
/** @type {import('tessera/model/program').Program} */
const program = {
  schema: 'tessera/program@1',
  ringBits: 32,
  tensors: [
    { shape: [4], scale: 1 },
    { shape: [4], scale: 1 },
  ],
  input: 0,
  output: 1,
  outputActivation: 'none',
  steps: [{ kind: 'add', name: 'three times', inputs: [0, 0], factors: [1, 2], output: 1 }],
};

const compute = await createNodeCompute({ threads: 1 });
const session = await openLocalSession({ compute, program, weights: { layers: [] }, suite: fresh.name });
const { outputs } = await session.client.infer(Float32Array.of(1, -2, 3, 40));
console.log([...(outputs[0] ?? [])].join(' '));

const measured = session.counters.serverProvider.received.offline.bytes;
const predicted = estimate(program, fresh).offline.links['provider>server'];
console.log(`provider to server: ${measured} bytes, predicted ${predicted}`);
await session.close();
await compute.close();
