// Whole sessions in memory whose every draw from a stream is written down, party by party; each party has a compute of its own.
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Program, ProgramWeights } from '../../src/model/program.js';
import { type ClientSession, openClientSession } from '../../src/party/client.js';
import { createProvider, type Provider } from '../../src/party/provider.js';
import { createServer, loadModel, type ServedModel, type Server } from '../../src/party/server.js';
import type { Role } from '../../src/protocol/operation.js';
import type { Channel } from '../../src/wire/channel.js';
import { memoryChannelPair } from '../../src/wire/memory.js';
import { type Received, recording } from '../protocol/harness.js';

/** Changes a counter block before it is used: how a test puts a fault into every party's streams alike. */
export type Readdress = (counterBlock: Uint8Array) => Uint8Array;

/** One draw: whose, under which key, at which address. */
export interface Draw {
  readonly party: Role;
  readonly key: string;
  /** The counter block without its block counter. */
  readonly address: string;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A compute that reports and may redirect its key streams. `blank` leaves an address's stream all zero. */
export function tapped(compute: Compute, report: (key: string, address: string) => void, readdress: Readdress = (b) => b): Compute {
  const wrapped = Object.create(compute) as Compute;
  wrapped.keystream = (key, counterBlock, out) => {
    report(hex(key), hex(counterBlock.subarray(0, 12)));
    const at = readdress(counterBlock.slice());
    if (at.length === 0) return Promise.resolve(void out.fill(0));
    return compute.keystream(key, at, out);
  };
  return wrapped;
}

export interface House {
  readonly draws: Draw[];
  readonly messages: Received[];
  model: ServedModel;
  /** Loads the model again: what a restarted server does. */
  reload(): Promise<void>;
  /** Opens a session. After `messages` messages of it, the sender of the next one dies: its two links close without a word. */
  connect(dieAfter?: number): Promise<{ client: ClientSession; sent(): number }>;
  /** Waits until every link served so far has ended. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

export async function openHouse(program: Program, weights: ProgramWeights): Promise<House> {
  const draws: Draw[] = [];
  const messages: Received[] = [];
  const computes = new Map<Role, Compute>();
  const roles: Role[] = ['client', 'server', 'provider'];
  for (const party of roles) {
    const compute = await createNodeCompute({ inline: true, maxBytes: 2 ** 28 });
    computes.set(
      party,
      tapped(compute, (key, address) => draws.push({ party, key, address })),
    );
  }
  const of = (role: Role) => computes.get(role)!;
  const provider: Provider = createProvider({ compute: of('provider') });
  const load = () => loadModel(of('server'), program, weights, { name: 'test' });
  let served: Promise<void>[] = [];
  const serve = (work: Promise<void>) => void served.push(work.catch(() => undefined));

  /** Opens the server's link to the provider: of the session that is being opened. */
  let dialProvider: () => Channel;
  const serverOf = (model: ServedModel): Server =>
    createServer({ compute: of('server'), model, connectProvider: () => Promise.resolve(dialProvider()) });
  let server: Server;

  const house: House = {
    draws,
    messages,
    model: await load(),
    async reload() {
      house.model = await load();
      server = serverOf(house.model);
    },
    async connect(dieAfter = Number.POSITIVE_INFINITY) {
      let sent = 0;
      const ends = new Map<Role, Channel[]>(roles.map((role) => [role, []]));
      const deadly = (channel: Channel, own: Role, peer: Role): Channel => {
        const recorded = recording((message) => messages.push(message))(channel, own, peer);
        const { send } = recorded;
        recorded.send = (label, payload, phase, depth) => {
          if (sent++ === dieAfter) for (const end of ends.get(own)!) end.close();
          send(label, payload, phase, depth);
        };
        ends.get(own)!.push(recorded);
        return recorded;
      };
      const link = (a: Role, b: Role): [Channel, Channel] => {
        const [first, second] = memoryChannelPair();
        return [deadly(first, a, b), deadly(second, b, a)];
      };
      const [clientServer, serverClient] = link('client', 'server');
      const [clientProvider, providerClient] = link('client', 'provider');
      dialProvider = () => {
        const [serverProvider, providerServer] = link('server', 'provider');
        serve(provider.serve(providerServer));
        return serverProvider;
      };
      serve(server.serve(serverClient));
      serve(provider.serve(providerClient));
      const client = await openClientSession({ compute: of('client'), server: clientServer, provider: clientProvider });
      return { client, sent: () => sent };
    },
    async settle() {
      await Promise.all(served);
      served = [];
    },
    async close() {
      await house.settle();
      for (const compute of computes.values()) await (Object.getPrototypeOf(compute) as Compute).close();
    },
  };
  server = serverOf(house.model);
  return house;
}
