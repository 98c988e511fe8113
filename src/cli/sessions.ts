// Sessions for commands: all three parties on this machine, or a client of two that are elsewhere.
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PeerError, TesseraError } from '../errors.js';
import type { Compute, Words } from '../kernel/compute.js';
import { type ClientSession, type InferenceResult, openClientSession } from '../party/client.js';
import { openLocalSession } from '../party/local.js';
import { addDrySuites, suites, type Traffic } from '../party/session.js';
import { createRecorder, type Timeline } from '../party/timeline.js';
import { linkBytes } from '../party/traffic.js';
import { dryName } from '../protocol/dry.js';
import type { Role } from '../protocol/operation.js';
import { checkSuite } from '../protocol/suite.js';
import { plainWords } from '../ring/words.js';
import type { Channel, Phase } from '../wire/channel.js';
import { linkSpeed } from '../wire/profiles.js';
import { shape } from '../wire/shaper.js';
import { connect } from '../wire/websocket.node.js';
import { openCompute } from './compute.js';
import { channelLimits } from './hosting.js';
import type { StoredModel } from './model-folder.js';
import { writeModelFolder } from './model-folder.js';
import type { PartyAnswer, PartySettings } from './party-process.js';
import type { LocalRunOptions, Outcome, PrivateSession, Timelines } from './run-types.js';
import type { Task } from './task.js';

/** Starts all three parties on this machine, in this process or in three, and connects a client. */
export async function openLocal(model: StoredModel, options: LocalRunOptions, task: Task): Promise<PrivateSession> {
  checkSuite(suites[options.suite]!, model.compiled.program);
  if (!options.dry) noteDoubts(model, options.suite, task);
  const compute = await openCompute(task, options.threads);
  const open = options.parties === 'memory' ? openInMemory : openInProcesses;
  if (!options.dry) return open(model, options, task, compute);
  addDrySuites();
  return open(withoutWeights(model), { ...options, suite: dryName(options.suite) }, task, compute);
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

async function openInMemory({ compiled }: StoredModel, options: LocalRunOptions, task: Task, compute: Compute): Promise<PrivateSession> {
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
  });
}

async function openInProcesses(model: StoredModel, options: LocalRunOptions, task: Task, compute: Compute): Promise<PrivateSession> {
  const { threads, network, suite, timelines = false, dry = false } = options;
  const common = { threads, timelines, dry, ...(network === undefined ? {} : { network }) };
  const provider = await startParty({ role: 'provider', ...common }, task);
  const folder = await mkdtemp(join(tmpdir(), 'tessera-model-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  task.atEnd(remove);
  await writeModelFolder(folder, model);
  const server = await startParty({ role: 'server', ...common, model: folder, providerUrl: provider.url }, task);
  // The server has read it: should this process be killed, no weights stay behind.
  await remove();
  const open = async (url: string, peer: Role): Promise<Channel> => {
    const channel = await connect(url);
    return network === undefined ? channel : shape(channel, linkSpeed(network, 'client', peer));
  };
  const links = { server: await open(server.url, 'server'), provider: await open(provider.url, 'provider') };
  const recorder = timelines ? createRecorder() : undefined;
  const client = await openClientSession({ compute, suite, ...links, ...(recorder === undefined ? {} : { recorder }) });
  return sessionOf(client, task, () => client.close(), {
    traffic: server.traffic,
    timelines: async () => recorder && { client: recorder, server: await server.timeline(), provider: await provider.timeline() },
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
      const counters = { clientServer: client.traffic.server, clientProvider: client.traffic.provider, serverProvider };
      const bytes = (phase: Phase) => linkBytes(counters, phase);
      const framing = client.traffic.server.framingBytes + client.traffic.provider.framingBytes + serverProvider.framingBytes;
      return { setup: bytes('setup'), offline: bytes('offline'), online: bytes('online'), framing };
    },
    timelines: async () => inside?.timelines(),
    seesAllLinks: inside !== undefined,
    close,
  };
}

const outcomeOf = ({ outputs, report }: InferenceResult): Outcome => ({
  logits: joined(outputs),
  seconds: report.seconds,
  rounds: { ...report.rounds },
});

const nothing = { setup: { bytes: 0, messages: 0 }, offline: { bytes: 0, messages: 0 }, online: { bytes: 0, messages: 0 } };
const unseen: Traffic = { sent: nothing, received: nothing, framingBytes: 0 };

function joined(rows: readonly Float32Array[]): Float32Array {
  const length = rows[0]?.length ?? 0;
  const all = new Float32Array(length * rows.length);
  for (const [index, row] of rows.entries()) all.set(row, index * length);
  return all;
}

interface StartedParty {
  readonly url: string;
  traffic(): Promise<Traffic>;
  timeline(): Promise<Timeline>;
}

/** How long a party process may take to start, or to answer. */
const processSeconds = 60;

async function startParty(settings: PartySettings, task: Task): Promise<StartedParty> {
  const child = fork(fileURLToPath(new URL('./party-process.js', import.meta.url)), {
    serialization: 'advanced',
    // Ctrl-C on a terminal reaches its whole process group: a child in it would die before it has learned to leave that to its parent.
    detached: process.platform !== 'win32',
  });
  // A message to a child that is gone; that it is gone is seen by its exit.
  child.on('error', () => {});
  task.atEnd(() => void child.kill('SIGKILL'));
  child.send(settings);
  const started = await nextAnswer(child, settings.role);
  if (started.kind !== 'listening') {
    const reason = started.kind === 'failed' ? started.message : 'it answered out of turn';
    throw new TesseraError(`the ${settings.role} process did not start: ${reason}`, {
      code: 'party-failed',
      hint: 'See the line above, if there is one.',
    });
  }
  return {
    url: started.url,
    traffic: async () => {
      child.send('traffic');
      const reply = await nextAnswer(child, settings.role);
      return reply.kind === 'traffic' ? reply.traffic : unseen;
    },
    timeline: async () => {
      child.send('timeline');
      const reply = await nextAnswer(child, settings.role);
      return reply.kind === 'timeline' ? reply.timeline : { spans: [], messages: [] };
    },
  };
}

function nextAnswer(child: ChildProcess, role: string): Promise<PartyAnswer> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void): void => {
      clearTimeout(timer);
      child.off('message', onMessage);
      child.off('exit', onExit);
      end();
    };
    const lost = (reason: string) => () =>
      settle(() =>
        reject(new PeerError(`the ${role} process ${reason}`, { code: 'party-failed', hint: 'Try --parties memory to see its error.' })),
      );
    const onMessage = (message: unknown): void => settle(() => resolve(message as PartyAnswer));
    const onExit = lost('ended');
    const timer = setTimeout(lost(`did not answer within ${processSeconds} s`), processSeconds * 1000);
    child.once('message', onMessage);
    child.once('exit', onExit);
  });
}
