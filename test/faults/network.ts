// Three parties in one process over real sockets, every link through a relay that can be cut, and every channel through a tap that can do
// wrong at a chosen message. Parties have a heap each, so that a leak of one of them shows.
import { type AddressInfo, createServer as createRelayServer, connect as dial, type Socket } from 'node:net';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { Compiled } from '../../src/model/compile.js';
import { type ClientOptions, type ClientSession, openClientSession } from '../../src/party/client.js';
import { createProvider, type ProviderOptions } from '../../src/party/provider.js';
import { createServer, loadModel, type ServerOptions } from '../../src/party/server.js';
import type { Role } from '../../src/protocol/operation.js';
import type { Channel, Label, Phase } from '../../src/wire/channel.js';
import type { ChannelLimits } from '../../src/wire/limits.js';
import { connect, type Listener, listen } from '../../src/wire/websocket.node.js';

/** One message at one end of a link. Inference numbers are left out: they grow from session to session. */
export interface Place {
  readonly own: Role;
  readonly peer: Role;
  readonly does: 'send' | 'receive';
  readonly step: number;
  readonly name: number;
}

export const placeText = ({ own, peer, does, step, name }: Place): string =>
  `${own} ${does === 'send' ? 'to' : 'from'} ${peer}, ${step}/${name}`;

/** What a tap may do with a message that is about to be sent, or has just come. */
export interface Message {
  readonly place: Place;
  readonly label: Label;
  payload: Uint8Array;
  depth: number;
  /** Sends one more message on the same channel, past the tap. */
  also(label: Label, payload: Uint8Array): void;
}

/** Returns false to swallow a message. */
export type Fault = (message: Message, network: Network) => boolean | undefined;

export interface Network {
  readonly server: string;
  readonly provider: string;
  readonly compute: Readonly<Record<Role, Compute>>;
  /** Cuts the link between two parties, as a broken cable would: without a word. */
  cut(a: Role, b: Role): void;
  /** Cuts all links of a party, as its death would. */
  kill(party: Role): void;
  /** From now on messages go through `fault`. */
  inject(fault: Fault | undefined): void;
  openClient(options?: Partial<ClientOptions>): Promise<ClientSession>;
  /** How every link that server and provider served since the last call ended; waits for those that have not. */
  ends(): Promise<readonly (Error | undefined)[]>;
  close(): Promise<void>;
}

export interface NetworkOptions {
  readonly limits?: Partial<ChannelLimits>;
  readonly server?: Partial<ServerOptions>;
  readonly provider?: Partial<ProviderOptions>;
}

interface Relay {
  readonly port: number;
  cut(): void;
  close(): void;
}

/** Passes bytes on between whoever connects and a port of this host. */
async function startRelay(target: number): Promise<Relay> {
  const open = new Set<Socket>();
  const hold = (socket: Socket): void => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
  };
  const relay = createRelayServer((near) => {
    const far = dial(target, '127.0.0.1');
    hold(near);
    hold(far);
    near.setNoDelay();
    far.setNoDelay();
    near.pipe(far);
    far.pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: (relay.address() as AddressInfo).port,
    cut,
    close() {
      cut();
      relay.close();
    },
  };
}

function tap(channel: Channel, own: Role, peer: Role, network: Network, fault: () => Fault | undefined): Channel {
  const message = (does: Place['does'], label: Label, payload: Uint8Array, phase: Phase, depth: number): Message => ({
    place: { own, peer, does, step: label.step, name: label.name },
    label,
    payload,
    depth,
    also: (other, bytes) => channel.send(other, bytes, phase, depth),
  });
  return {
    get sent() {
      return channel.sent;
    },
    get received() {
      return channel.received;
    },
    get framingBytes() {
      return channel.framingBytes;
    },
    ended: channel.ended,
    drained: () => channel.drained(),
    close: (reason) => channel.close(reason),
    send(label, payload, phase, depth) {
      const outgoing = message('send', label, payload, phase, depth);
      if (fault()?.(outgoing, network) !== false) channel.send(label, outgoing.payload, phase, outgoing.depth);
    },
    async receive(label, options) {
      const { payload, depth } = await channel.receive(label, options);
      const incoming = message('receive', label, payload, 'online', depth);
      fault()?.(incoming, network);
      return incoming;
    },
  };
}

/** Starts server and provider. The client's end, the relays and the taps are here too. */
export async function openNetwork(model: Compiled, options: NetworkOptions = {}): Promise<Network> {
  const { limits = {} } = options;
  const compute = {
    client: await createNodeCompute({ inline: true, maxBytes: 2 ** 28 }),
    server: await createNodeCompute({ inline: true, maxBytes: 2 ** 28 }),
    provider: await createNodeCompute({ inline: true, maxBytes: 2 ** 28 }),
  };
  let fault: Fault | undefined;
  let served: Promise<Error | undefined>[] = [];
  const serve = (work: Promise<void>): void => {
    served.push(
      work.then(
        () => undefined,
        (error: Error) => error,
      ),
    );
  };
  const tapped = (channel: Channel, own: Role, peer: Role) => tap(channel, own, peer, network, () => fault);
  const open = async (port: number, own: Role, peer: Role) => tapped(await connect(`ws://127.0.0.1:${port}/${own}`, { limits }), own, peer);

  const provider = createProvider({ compute: compute.provider, ...options.provider });
  const hosting = { host: '127.0.0.1', port: 0, limits };
  const providerHost: Listener = await listen({
    ...hosting,
    onConnection: (channel, { path }) => serve(provider.serve(tapped(channel, 'provider', path.slice(1) as Role))),
  });
  const serverProvider = await startRelay(providerHost.port);
  const server = createServer({
    compute: compute.server,
    model: await loadModel(compute.server, model.program, model.weights, { name: 'test' }),
    connectProvider: () => open(serverProvider.port, 'server', 'provider'),
    ...options.server,
  });
  const serverHost = await listen({ ...hosting, onConnection: (channel) => serve(server.serve(tapped(channel, 'server', 'client'))) });
  const clientServer = await startRelay(serverHost.port);
  const clientProvider = await startRelay(providerHost.port);
  const relays: Readonly<Record<string, Relay>> = {
    'client server': clientServer,
    'client provider': clientProvider,
    'provider server': serverProvider,
  };

  const network: Network = {
    server: serverHost.url,
    provider: providerHost.url,
    compute,
    cut: (a, b) => relays[[a, b].sort().join(' ')]!.cut(),
    kill(party) {
      for (const [link, relay] of Object.entries(relays)) if (link.includes(party)) relay.cut();
    },
    inject(next) {
      fault = next;
    },
    async openClient(more = {}) {
      const toServer = await open(clientServer.port, 'client', 'server');
      let toProvider: Channel;
      try {
        toProvider = await open(clientProvider.port, 'client', 'provider');
      } catch (error) {
        toServer.close();
        throw error;
      }
      return openClientSession({ compute: compute.client, server: toServer, provider: toProvider, ...more });
    },
    async ends() {
      const all = await Promise.all(served);
      served = [];
      return all;
    },
    async close() {
      for (const relay of Object.values(relays)) relay.close();
      await Promise.all([serverHost.close(), providerHost.close()]);
      await network.ends();
      await Promise.all(Object.values(compute).map((each) => each.close()));
    },
  };
  return network;
}
