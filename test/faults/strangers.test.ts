// Whoever connects to a server or a provider without being a party, or as one that breaks the rules: that link ends, with a typed error here
// and without harm to the next client.
import { randomBytes } from 'node:crypto';
import { connect as dial, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { PeerError } from '../../src/errors.js';
import { setupNames, toHex, u32 } from '../../src/party/setup.js';
import { controlNames } from '../../src/protocol/control.js';
import { createKeyPair } from '../../src/random/seeds.js';
import { encodeFrame } from '../../src/wire/frame.js';
import { connect } from '../../src/wire/websocket.node.js';
import { openTrials, type Trials, withoutHang } from './trials.js';

const limits = { waitSeconds: 2, maxFrameBytes: 2 ** 20, maxQueuedBytes: 2 ** 20 };
let trials: Trials;
beforeAll(async () => {
  trials = await openTrials({ limits, provider: { idleSeconds: 2 } });
});
afterAll(() => trials.network.close());

const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const frame = (name: number, payload: Uint8Array, step = 0) => encodeFrame({ inference: 0, step, name }, payload, 'setup', 0);
const hello = (value: unknown) => frame(setupNames.hello, text(value));
const clientHello = { version: 2, suite: 'masked', publicKey: '22'.repeat(32) };
const serverHello = { version: 2, role: 'server', suite: 'masked', publicKey: '11'.repeat(32) };
/** To a server, then to a provider: a hello each understands. */
const hellos = { server: clientHello, provider: serverHello } as const;
type Target = keyof typeof hellos;
type Misdeed = (socket: WebSocket, target: Target) => void;
const raw = (socket: WebSocket): Socket => (socket as unknown as { _socket: Socket })._socket;

/** Opens a WebSocket, lets it do its misdeed, and waits until it has been closed. */
async function trespass(target: Target, misdeed: Misdeed): Promise<{ code: number; reason: string }> {
  const path = target === 'provider' ? '/server' : '/client';
  const socket = new WebSocket(trials.network[target] + path, { perMessageDeflate: false });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('open', resolve));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  misdeed(socket, target);
  const end = await withoutHang(closed, 'a stranger');
  return end;
}

const misdeeds: readonly (readonly [what: string, misdeed: Misdeed, code: string | undefined])[] = [
  ['a frame shorter than its label', (s) => s.send(new Uint8Array(5)), 'peer-garbage'],
  ['garbage', (s) => s.send(new Uint8Array(100).fill(0xff)), 'peer-garbage'],
  ['a text frame', (s) => s.send('hello'), 'peer-garbage'],
  ['a frame over the limit', (s) => s.send(new Uint8Array(2 ** 20 + 100)), 'peer-oversized'],
  ['a header that promises more than will ever come', (s) => raw(s).write(Buffer.from('82ff0000000100000000', 'hex')), 'peer-oversized'],
  [
    'a frame cut short',
    (s) => {
      raw(s).write(Buffer.concat([Buffer.from([0x82, 0x80 | 100, 0, 0, 0, 0]), Buffer.alloc(50)]));
      raw(s).end();
    },
    'peer-left',
  ],
  ['nothing at all', () => undefined, 'peer-silent'],
  ['a hello that is no JSON', (s) => s.send(frame(setupNames.hello, new Uint8Array([0x7b, 0xff]))), 'bad-hello'],
  ['a hello that is null', (s) => s.send(hello(null)), 'version'],
  ['a hello of another kind', (s) => s.send(hello([1, 2])), 'version'],
  ['a hello nested a hundred thousand deep', (s) => s.send(frame(setupNames.hello, new Uint8Array(200_000).fill(0x5b))), 'bad-hello'],
  ['a hello with fields of its own', (s, to) => s.send(hello({ ...hellos[to], extra: 1 })), 'bad-hello'],
  ['another version', (s, to) => s.send(hello({ ...hellos[to], version: 1 })), 'version'],
  ['another suite', (s, to) => s.send(hello({ ...hellos[to], suite: 'toString' })), 'unknown-suite'],
  [
    'a second hello',
    (s, to) => {
      s.send(hello(hellos[to]));
      s.send(hello(hellos[to]));
    },
    'peer-repeated',
  ],
  [
    'messages nobody asked for, without end',
    (s) => {
      for (let i = 0; i < 5000; i++) s.send(encodeFrame({ inference: 7, step: i, name: 1 }, new Uint8Array(0), 'online', 1));
    },
    'peer-flood',
  ],
];

/** That the parties know why those links ended, and serve as before. */
async function expectUnharmed(code: string | undefined): Promise<void> {
  const ends = await withoutHang(trials.network.ends(), 'server or provider');
  for (const end of ends) if (end !== undefined) expect(end).toBeInstanceOf(PeerError);
  const codes = ends.filter((end) => end !== undefined).map((end) => (end as PeerError).code);
  if (code !== undefined) expect(codes).toContain(code);
  trials.check(await trials.session());
  await trials.network.ends();
}

describe.each(['server', 'provider'] as const)('a stranger at the %s sends', (target) => {
  it.each(misdeeds)('%s', async (_, misdeed, code) => {
    const { used } = trials;
    const before = used();
    await trespass(target, misdeed);
    await expectUnharmed(code);
    expect(used()).toEqual(before);
  });

  it('bytes that are no HTTP, and a request that is no WebSocket', async () => {
    const { hostname, port } = new URL(trials.network[target]);
    for (const bytes of [randomBytes(2000), Buffer.from('GET / HTTP/1.1\r\nhost: here\r\n\r\n')]) {
      const socket = dial(Number(port), hostname);
      socket.on('error', () => undefined);
      socket.write(bytes);
      socket.resume();
      await withoutHang(new Promise((resolve) => socket.once('close', resolve)), 'the connection');
    }
    await expectUnharmed(undefined);
  });
});

describe('a false server at the provider', () => {
  /** Opens a session at the provider as a server would. */
  async function session(publicKey?: string) {
    const link = await connect(`${trials.network.provider}/server`, { limits });
    const keys = await createKeyPair();
    link.send(label(setupNames.hello), text({ ...serverHello, publicKey: publicKey ?? toHex(keys.publicKey) }), 'setup', 0);
    return link;
  }
  const label = (name: number) => ({ inference: 0, step: 0, name });

  it.each([
    ['a program that is none', new Uint8Array(100), undefined, 'wrong-program'],
    ['a key that cannot be used', undefined, '00'.repeat(32), 'peer-bad-key'],
    ['no program', undefined, undefined, 'peer-silent'],
  ] as const)('with %s', async (_, program, key, code) => {
    const link = await session(key);
    if (program !== undefined) link.send(label(setupNames.program), program, 'setup', 0);
    expect(await withoutHang(link.ended, 'the link')).toMatchObject({ exitStatus: 4 });
    await expectUnharmed(code);
  });
});

describe('a session that is taken', () => {
  it('refuses a second client, and serves the first', async () => {
    let id = '';
    trials.network.inject(({ place, payload }) => {
      if (place.own === 'client' && place.peer === 'server' && place.does === 'receive' && place.name === setupNames.welcome)
        id = JSON.parse(new TextDecoder().decode(payload)).session;
      return undefined;
    });
    const client = await trials.network.openClient();
    trials.network.inject(undefined);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    for (const session of [id, '0'.repeat(32)]) {
      const { reason } = await trespass('provider', (s) =>
        s.send(hello({ version: 2, role: 'client', session, publicKey: '22'.repeat(32), hash: '33'.repeat(32) })),
      );
      expect(reason).toMatch(/no such session/);
    }
    expect((await client.infer(new Float32Array(32))).outputs).toHaveLength(1);
    await client.close();
    await trials.network.ends();
  });

  it('ends for a client with another program', async () => {
    trials.network.inject((message) => {
      const { own, peer, does, name } = message.place;
      if (own !== 'client' || peer !== 'provider' || does !== 'send' || name !== setupNames.hello) return undefined;
      message.payload = text({ ...JSON.parse(new TextDecoder().decode(message.payload)), hash: '0'.repeat(64) });
      return undefined;
    });
    expect(await trials.session()).toMatchObject({ exitStatus: 4, message: expect.stringContaining('same program') });
    trials.network.inject(undefined);
    await expectUnharmed('wrong-program');
  });
});

describe('a client that asks for too much', () => {
  it('is held to so many inferences prepared at a time, however many it asks for', async () => {
    const before = trials.network.compute.server.memory.usedBytes;
    const one = await peak(1);
    expect(await peak(3000)).toBeLessThan(before + 6 * (one - before));
    await expectUnharmed(undefined);
  });

  /** The most bytes on the server's heap while a client's requests wait. */
  async function peak(requests: number): Promise<number> {
    const { memory } = trials.network.compute.server;
    trials.network.inject((message) => {
      const { own, does, name } = message.place;
      if (own !== 'client' || does !== 'send' || name !== controlNames.request) return undefined;
      for (let i = 2; i <= requests; i++) message.also({ inference: i, step: 0, name }, u32(1));
      return undefined;
    });
    const client = await trials.network.openClient();
    await client.prepare();
    let most = 0;
    for (let i = 0; i < 20; i++) {
      most = Math.max(most, memory.usedBytes);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    trials.network.inject(undefined);
    await client.close();
    await withoutHang(trials.network.ends(), 'the session');
    return most;
  }

  it.each([0, 65, 2 ** 32 - 1])('a batch of %d is refused', async (batch) => {
    trials.network.inject((message) => {
      if (message.place.name === controlNames.request && message.place.does === 'send') message.payload = u32(batch);
      return undefined;
    });
    expect(await trials.session()).toMatchObject({ exitStatus: 4, message: expect.stringContaining('1 to 64') });
    trials.network.inject(undefined);
    await expectUnharmed('bad-batch');
  });

  it('a server that asks the provider for such a batch is refused too', async () => {
    trials.network.inject((message) => {
      const { name, does } = message.place;
      if (name === controlNames.prepare && does === 'send') message.payload = u32(1000, 2 ** 32 - 1);
      return undefined;
    });
    expect(await trials.session()).toMatchObject({ exitStatus: 4 });
    trials.network.inject(undefined);
    await expectUnharmed('bad-batch');
  });
});
