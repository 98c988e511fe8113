// Three parties on this machine, each in a process of its own: starting them, and a session whose client is in one of them.
import { fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TesseraError } from '../errors.js';
import type { Role } from '../protocol/operation.js';
import { type Ask, askerOf } from './calls.js';
import { type StoredModel, writeModelFolder } from './model-folder.js';
import type { PartyCalls } from './party-process.js';
import { sessionTraffic, unseen } from './run-traffic.js';
import type { LocalRunOptions, PrivateSession } from './run-types.js';
import type { Task } from './task.js';

export async function openInProcesses(model: StoredModel, options: LocalRunOptions, task: Task): Promise<PrivateSession> {
  const { threads, network, suite, timelines = false, dry = false } = options;
  const common = { threads, timelines, dry, ...(network === undefined ? {} : { network }) };
  const ask = { provider: startParty('provider', task), server: startParty('server', task), client: startParty('client', task) };
  const providerUrl = await started('provider', ask.provider('provider', common));
  const folder = await mkdtemp(join(tmpdir(), 'tessera-model-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  task.atEnd(remove);
  await writeModelFolder(folder, model);
  const serverUrl = await started('server', ask.server('server', { ...common, model: folder, providerUrl }));
  // The server has read it: should this process be killed, no weights stay behind.
  await remove();
  const setupSeconds = await ask.client('client', { ...common, suite, serverUrl, providerUrl });
  return processSession(model, ask, setupSeconds, timelines, task);
}

type Asks = Readonly<Record<Role, Ask<PartyCalls>>>;

function processSession({ compiled }: StoredModel, ask: Asks, setupSeconds: number, timelines: boolean, task: Task): PrivateSession {
  const each = async <T>(of: (role: Role) => Promise<T>): Promise<Record<Role, T>> => {
    const [client, server, provider] = await Promise.all([of('client'), of('server'), of('provider')]);
    return { client, server, provider };
  };
  let open = true;
  const close = async (): Promise<void> => {
    if (!open) return;
    open = false;
    await ask.client('close');
  };
  // A client that is gone has nothing left to close.
  task.atEnd(() => close().catch(() => {}));
  return {
    program: compiled.program,
    description: compiled.description,
    setupSeconds,
    // The client's clock covers the others': it waits for the server's "ready", which follows the provider's last message, and for the output.
    infer: (images, batch) => ask.client('infer', { images, batch }),
    prepare: async (batch) => {
      const number = await ask.client('prepare', batch);
      return { infer: (images) => ask.client('use', { number, images }) };
    },
    traffic: async () => {
      const { server, provider } = await ask.client('clientTraffic');
      const serverProvider = (await ask.server('providerTraffic')) ?? unseen;
      return sessionTraffic({ clientServer: server, clientProvider: provider, serverProvider });
    },
    timelines: async () => (timelines ? each((role) => ask[role]('timeline')) : undefined),
    peakBytes: () => each((role) => ask[role]('peakBytes')),
    seesAllLinks: true,
    close,
  };
}

function startParty(role: Role, task: Task): Ask<PartyCalls> {
  const child = fork(fileURLToPath(new URL('./party-process.js', import.meta.url)), {
    serialization: 'advanced',
    // Ctrl-C on a terminal reaches its whole process group: a child in it would die before it has learned to leave that to its parent.
    detached: process.platform !== 'win32',
  });
  // A message to a child that is gone; that it is gone is seen by its exit.
  child.on('error', () => {});
  task.atEnd(() => void child.kill('SIGKILL'));
  return askerOf<PartyCalls>(child, role);
}

/** What a party answers once it listens. */
async function started(role: Role, url: Promise<string>): Promise<string> {
  try {
    return await url;
  } catch (cause) {
    if (!(cause instanceof TesseraError) || cause.code !== 'internal') throw cause;
    throw new TesseraError(`the ${role} process did not start: ${(cause as Error).message}`, {
      code: 'party-failed',
      hint: 'See the line above, if there is one.',
      cause,
    });
  }
}
