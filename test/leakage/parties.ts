// Three parties in memory, below sessions and files: any ring, weights B of the test's choice, and streams that a test may tamper with.
// What each party draws, sends and receives is kept. Not here: cutting it up (views.ts).
import type { Compute, HeapArray } from '../../src/kernel/compute.js';
import { packWords } from '../../src/kernel/words-plain.js';
import type { Program, ProgramWeights } from '../../src/model/program.js';
import { type Inference, openInference, type PartyState } from '../../src/party/interpreter.js';
import { freeCache, partyState } from '../../src/party/session.js';
import { differenceTable, linearSteps, serverTable, type WeightTable } from '../../src/party/weights.js';
import { masked } from '../../src/protocol/masked/suite.js';
import type { Role } from '../../src/protocol/operation.js';
import { randomBytes } from '../../src/random/seeds.js';
import { createStreams, type StreamAddress, type Streams } from '../../src/random/streams.js';
import { memoryChannelPair } from '../../src/wire/memory.js';
import { type Received, recording } from '../protocol/harness.js';

/** The stream of the client and the provider, or of the server and the provider. */
export type Pair = 'client' | 'server';

/** Changes a draw after it was made; both parties of the pair call it with the same bytes. */
export type Tamper = (pair: Pair, address: StreamAddress, drawn: Uint8Array) => void;

export interface Setting {
  readonly compute: Compute;
  readonly program: Program;
  readonly weights: ProgramWeights;
  /** What the client holds of the weights; B is W less this. */
  readonly difference: readonly Int32Array[];
  readonly tamper?: Tamper;
  /** Maps an inference's number to the one its draws are made for: what a ledger that fails would do. */
  readonly drawnAs?: (inference: number) => number;
}

export interface Trace {
  readonly outputs: Int32Array;
  readonly messages: readonly Received[];
}

function streamsOf(pair: Pair, { compute, tamper, drawnAs = (n) => n }: Setting, key: Uint8Array): Streams {
  const base = new Map<number, Streams>();
  return {
    async draw(address: StreamAddress, out: HeapArray) {
      const streams = base.get(address.inference) ?? createStreams(compute, key);
      base.set(address.inference, streams);
      await streams.draw({ ...address, inference: drawnAs(address.inference) }, out);
      tamper?.(pair, address, new Uint8Array(out.buffer, out.byteOffset, out.byteLength));
    },
    finish: () => {},
  };
}

/** Runs one inference for each of `images` (a batch of encoded pictures each) and returns what was sent and what came out. */
export async function runTraced(setting: Setting, images: readonly Int32Array[], batch: number): Promise<Trace[]> {
  const { compute, program, weights, difference } = setting;
  const messages: Received[] = [];
  const wrap = recording((message) => messages.push(message));
  const link = (a: Role, b: Role) => {
    const [first, second] = memoryChannelPair();
    return [wrap(first, a, b), wrap(second, b, a)] as const;
  };
  const [clientServer, serverClient] = link('client', 'server');
  const [clientProvider, providerClient] = link('client', 'provider');
  const [serverProvider, providerServer] = link('server', 'provider');
  const [keyClient, keyServer] = [randomBytes(16), randomBytes(16)];
  const packed = (words: readonly Int32Array[]) =>
    differenceTable(compute, program, (_, position) => Promise.resolve(packWords(words[position]!, program.ringBits)));
  const b = linearSteps(program).map((step, i) =>
    Int32Array.from(weights.layers[step.weights]!.weights as Int32Array, (w, j) => w - difference[i]![j]!),
  );
  const tables = [await packed(difference), await serverTable(compute, program, weights), await packed(b)] as const;
  const state = (role: Role, channels: PartyState['channels'], streams: PartyState['streams'], table: WeightTable) =>
    partyState(role, masked, program, compute, channels, streams, table);
  const client = state(
    'client',
    { server: clientServer, provider: clientProvider },
    { provider: streamsOf('client', setting, keyClient) },
    tables[0],
  );
  const server = state(
    'server',
    { client: serverClient, provider: serverProvider },
    { provider: streamsOf('server', setting, keyServer) },
    tables[1],
  );
  const provider = state(
    'provider',
    { client: providerClient, server: providerServer },
    { client: streamsOf('client', setting, keyClient), server: streamsOf('server', setting, keyServer) },
    tables[2],
  );
  const traces: Trace[] = [];
  for (const [at, encoded] of images.entries()) {
    messages.length = 0;
    const open = (party: PartyState) => openInference(party, at + 1, batch);
    const inferences = [open(client), open(server), open(provider)] as const;
    const [outputs] = await Promise.all([asClient(inferences[0], encoded), asServer(inferences[1]), asProvider(inferences[2])]);
    for (const inference of inferences) inference.finish();
    traces.push({ outputs, messages: [...messages] });
  }
  for (const party of [client, server, provider]) freeCache(party);
  for (const table of tables) table.free();
  for (const channel of [clientServer, clientProvider, serverProvider]) channel.close();
  return traces;
}

const { ends } = masked;

async function asClient(inference: Inference, encoded: Int32Array): Promise<Int32Array> {
  const inputMask = await ends.drawInputMask(inference.end(0, 'offline', 0).context, 'provider');
  await inference.steps('offline', 0);
  const outputMask = await ends.drawOutputMask(inference.end(1, 'offline', 0).context);
  await ends.sendInput(inference.end(0, 'online', 0).context, encoded, inputMask);
  await inference.steps('online', 0);
  return (await ends.receiveOutput(inference.end(1, 'online', 0).context, outputMask)) as Int32Array;
}

async function asServer(inference: Inference): Promise<void> {
  const [shift] = await Promise.all([ends.receiveOutputShift(inference.end(1, 'offline', 0).context), inference.steps('offline', 0)]);
  await ends.receiveInput(inference.end(0, 'online', 0).context);
  await inference.steps('online', 0);
  await ends.sendOutput(inference.end(1, 'online', 0).context, shift);
}

async function asProvider(inference: Inference): Promise<void> {
  await ends.drawInputMask(inference.end(0, 'offline', 0).context, 'client');
  await inference.steps('offline', 0);
  await ends.dealOutput(inference.end(1, 'offline', 0).context);
}
