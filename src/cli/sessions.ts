// Sessions for commands: all three parties on this machine, or a client of two that are elsewhere.
import type { Words } from '../kernel/compute.js';
import { type ClientSession, openClientSession } from '../party/client.js';
import { openLocalSession } from '../party/local.js';
import { addDrySuites, suites, type Traffic } from '../party/session.js';
import { createRecorder } from '../party/timeline.js';
import { dryName } from '../protocol/dry.js';
import type { Role } from '../protocol/operation.js';
import { checkSuite } from '../protocol/suite.js';
import { plainWords } from '../ring/words.js';
import type { Channel } from '../wire/channel.js';
import { linkSpeed } from '../wire/profiles.js';
import { shape } from '../wire/shaper.js';
import { connect } from '../wire/websocket.node.js';
import { collectRarely } from './collector.js';
import { openCompute } from './compute.js';
import { channelLimits } from './hosting.js';
import { checkMemory } from './memory.js';
import type { StoredModel } from './model-folder.js';
import { openInProcesses } from './processes.js';
import { residentPeakBytes } from './resident.js';
import { outcomeOf, sessionTraffic, unseen } from './run-traffic.js';
import type { LocalRunOptions, PeakBytes, PrivateSession, Timelines } from './run-types.js';
import type { Task } from './task.js';

/** Starts all three parties on this machine, in this process or in three, and connects a client. */
export async function openLocal(model: StoredModel, options: LocalRunOptions, task: Task): Promise<PrivateSession> {
  checkSuite(suites[options.suite]!, model.compiled.program);
  if (!options.dry) {
    noteDoubts(model, options.suite, task);
    checkMemory(model.compiled.program, options.suite, options.batch ?? 1, ['client', 'server', 'provider'], options.parties);
  }
  const open = options.parties === 'memory' ? openInMemory : openInProcesses;
  if (!options.dry) return open(model, options, task);
  addDrySuites();
  return open(withoutWeights(model), { ...options, suite: dryName(options.suite) }, task);
}

/** Tells the user what a suite may get wrong with a model. */
export function noteDoubts({ compiled }: Pick<StoredModel, 'compiled'>, suite: string, { output }: Task): void {
  const doubts = suites[suite]?.doubts?.(compiled.program);
  if (doubts !== undefined) output.note(`the ${suite} suite ${doubts}`);
}

/** The model with weights of 0: what a dry run gives the parties. */
function withoutWeights({ compiled, summary }: StoredModel): StoredModel {
  const { ringBits } = compiled.program;
  const none = ({ length }: Words): Words => plainWords(ringBits, length);
  const layers = compiled.weights.layers.map(({ weights, bias }) => ({ weights: none(weights), bias: none(bias) }));
  return { compiled: { ...compiled, weights: { layers } }, summary };
}

async function openInMemory({ compiled }: StoredModel, options: LocalRunOptions, task: Task): Promise<PrivateSession> {
  const compute = await openCompute(task, options.threads);
  const { program, weights, description } = compiled;
  const { network, suite } = options;
  const info = { ...description } as NonNullable<Parameters<typeof openLocalSession>[0]['info']>;
  const wrap =
    network === undefined ? {} : { wrap: (channel: Channel, own: Role, peer: Role) => shape(channel, linkSpeed(network, own, peer)) };
  const recorders = options.timelines ? { client: createRecorder(), server: createRecorder(), provider: createRecorder() } : undefined;
  const recording = recorders === undefined ? {} : { recorders };
  const local = await openLocalSession({ compute, program, weights, info, suite, ...wrap, ...recording });
  return sessionOf(local.client, task, () => local.close(), {
    traffic: async () => local.counters.serverProvider,
    timelines: async () => recorders,
    peakBytes: async () => ({ together: residentPeakBytes() }),
  });
}

export interface RemoteOptions {
  readonly serverUrl: string;
  readonly providerUrl: string;
  readonly suite: string;
  readonly threads: number;
  /** Certificate to trust at both, PEM. */
  readonly ca?: string;
  /** Hash the program must have. */
  readonly pinnedHash?: string;
  /** How long to wait for a message that is due. */
  readonly waitSeconds: number;
}

/** Connects to a server and a provider that run elsewhere. */
export async function openRemote(options: RemoteOptions, task: Task): Promise<PrivateSession> {
  collectRarely();
  const { suite, ca, pinnedHash } = options;
  const compute = await openCompute(task, options.threads);
  const settings = { ...(ca === undefined ? {} : { tls: { ca } }), limits: channelLimits(options.waitSeconds) };
  const server = await connect(options.serverUrl, settings);
  task.atEnd(() => server.close());
  const provider = await connect(options.providerUrl, settings);
  task.atEnd(() => provider.close());
  const client = await openClientSession({ compute, suite, server, provider, ...(pinnedHash === undefined ? {} : { pinnedHash }) });
  return sessionOf(client, task, () => client.close(), undefined);
}

/** What only the machine that runs all three parties can say of a session. */
interface Inside {
  /** Counters of the link from server to provider, as the server counts. */
  traffic(): Promise<Traffic>;
  timelines(): Promise<Timelines | undefined>;
  peakBytes(): Promise<PeakBytes>;
}

/** @param inside undefined where the other parties are elsewhere. */
function sessionOf(client: ClientSession, task: Task, end: () => Promise<void>, inside: Inside | undefined): PrivateSession {
  let open = true;
  const close = async (): Promise<void> => {
    if (open) await end();
    open = false;
  };
  task.atEnd(close);
  return {
    program: client.program,
    description: client.info as PrivateSession['description'],
    setupSeconds: client.setupSeconds,
    // The client's clock covers the others': it waits for the server's "ready", which follows the provider's last message, and for the output.
    infer: async (images, batch) => outcomeOf(await client.infer(images, batch)),
    prepare: async (batch) => {
      const prepared = await client.prepare(batch);
      return { infer: async (images) => outcomeOf(await prepared.infer(images)) };
    },
    traffic: async () => {
      const serverProvider = inside === undefined ? unseen : await inside.traffic();
      return sessionTraffic({ clientServer: client.traffic.server, clientProvider: client.traffic.provider, serverProvider });
    },
    timelines: async () => inside?.timelines(),
    peakBytes: async () => inside?.peakBytes() ?? { client: residentPeakBytes() },
    seesAllLinks: inside !== undefined,
    close,
  };
}
