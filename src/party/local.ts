// All three parties in one process over channels in memory: the first experience, the tests' workbench, and `run --parties memory`.
import type { Compute } from '../kernel/compute.js';
import type { Program, ProgramWeights } from '../model/program.js';
import type { Role } from '../protocol/operation.js';
import type { Channel } from '../wire/channel.js';
import { memoryChannelPair } from '../wire/memory.js';
import { type ClientSession, openClientSession } from './client.js';
import type { MaterialStore } from './material.js';
import { createProvider } from './provider.js';
import { createServer, loadModel } from './server.js';
import type { InferenceReport } from './session.js';
import type { ModelInfo } from './setup.js';
import type { Recorder } from './timeline.js';
import type { LinkCounters } from './traffic.js';

export interface LocalOptions {
  readonly compute: Compute;
  readonly program: Program;
  readonly weights: ProgramWeights;
  readonly info?: ModelInfo;
  readonly suite?: string;
  /** For client and server: bytes of material kept ready in memory, and where more of the server's goes. */
  readonly readyBytes?: number;
  readonly openStore?: () => MaterialStore;
  /** Wraps what a party computes with, e.g. to time it. */
  meter?(compute: Compute, own: Role): Compute;
  /** Wraps a party's end of a link, e.g. to shape or to record it. */
  wrap?(channel: Channel, own: Role, peer: Role): Channel;
  /** Where to write down what each party does when. */
  readonly recorders?: Readonly<Record<Role, Recorder>>;
}

export interface LocalSession {
  readonly client: ClientSession;
  readonly counters: LinkCounters;
  /** What server and provider reported of the inferences so far. */
  readonly reports: Readonly<Record<'server' | 'provider', readonly InferenceReport[]>>;
  /** How the server's link and the provider's two links ended, once they have. */
  readonly ended: Promise<readonly PromiseSettledResult<void>[]>;
  close(): Promise<void>;
}

/**
 * Opens a session between three parties in this process. They share one compute and nothing else.
 * Throws DataError when the weights do not fit the program.
 *
 * @example
 * const local = await openLocalSession({ compute, program, weights });
 * const { outputs } = await local.client.infer(image);
 * await local.close();
 */
export async function openLocalSession({
  compute,
  program,
  weights,
  info = { name: 'model' },
  suite,
  wrap,
  meter = (own) => own,
  recorders,
  ...material
}: LocalOptions): Promise<LocalSession> {
  const link = (a: Role, b: Role): [Channel, Channel] => {
    const [first, second] = memoryChannelPair();
    return wrap ? [wrap(first, a, b), wrap(second, b, a)] : [first, second];
  };
  const reports = { server: [] as InferenceReport[], provider: [] as InferenceReport[] };
  const recorder = (role: Role) => (recorders === undefined ? {} : { recorder: recorders[role] });
  const computes = { client: meter(compute, 'client'), server: meter(compute, 'server'), provider: meter(compute, 'provider') };
  const provider = createProvider({
    compute: computes.provider,
    ...recorder('provider'),
    onInference: (report) => reports.provider.push(report),
  });
  const model = await loadModel(computes.server, program, weights, info);
  const [serverToProvider, providerToServer] = link('server', 'provider');
  const [clientToServer, serverToClient] = link('client', 'server');
  const [clientToProvider, providerToClient] = link('client', 'provider');
  const server = createServer({
    compute: computes.server,
    model,
    ...material,
    ...recorder('server'),
    connectProvider: () => Promise.resolve(serverToProvider),
    onInference: (report) => reports.server.push(report),
  });
  const serving = [server.serve(serverToClient), provider.serve(providerToServer), provider.serve(providerToClient)];
  const settled = Promise.allSettled(serving);
  try {
    const links = { server: clientToServer, provider: clientToProvider };
    const client = await openClientSession({
      compute: computes.client,
      ...links,
      ...material,
      ...recorder('client'),
      ...(suite ? { suite } : {}),
    });
    return {
      client,
      counters: { clientServer: clientToServer, clientProvider: clientToProvider, serverProvider: serverToProvider },
      reports,
      ended: settled,
      async close() {
        await client.close();
        await settled;
        model.weights.free();
      },
    };
  } catch (error) {
    await settled;
    model.weights.free();
    throw error;
  }
}
