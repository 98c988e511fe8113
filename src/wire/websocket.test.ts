import { randomBytes } from 'node:crypto';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { generate } from 'selfsigned';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { PeerError, UsageError } from '../errors.js';
import { type Channel, type Label, labelBytes } from './channel.js';
import { encodeFrame } from './frame.js';
import type { ChannelLimits } from './limits.js';
import { highWaterBytes } from './socket.node.js';
import { type ConnectOptions, connect, type Listener, type ListenOptions, listen } from './websocket.node.js';

const label = (inference: number, step = 0, name = 0): Label => ({ inference, step, name });
const text = (value: string) => new TextEncoder().encode(value);

const open: Listener[] = [];
const cleanups: (() => void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0)) clean();
  await Promise.all(open.splice(0).map((listener) => listener.close()));
});

/** A listener on a free port, and a way to await its next channel. */
async function serve(options: Partial<ListenOptions> = {}): Promise<{ listener: Listener; next: () => Promise<Channel>; paths: string[] }> {
  const arrived: Channel[] = [];
  const waiting: ((channel: Channel) => void)[] = [];
  const paths: string[] = [];
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    onConnection(channel, info) {
      paths.push(info.path);
      const resolve = waiting.shift();
      if (resolve) resolve(channel);
      else arrived.push(channel);
    },
    ...options,
  });
  open.push(listener);
  const next = () => {
    const channel = arrived.shift();
    return channel ? Promise.resolve(channel) : new Promise<Channel>((resolve) => waiting.push(resolve));
  };
  return { listener, next, paths };
}

async function pair(limits: Partial<ChannelLimits> = {}, server: Partial<ListenOptions> = {}, client: ConnectOptions = {}) {
  const { listener, next } = await serve({ limits, ...server });
  const [there, here] = await Promise.all([next(), connect(listener.url, { limits, ...client })]);
  return { client: here, server: there, listener, next };
}

/** A peer that need not keep to anything: a bare WebSocket. */
async function stranger(limits: Partial<ChannelLimits> = {}) {
  const { listener, next } = await serve({ limits });
  const socket = new WebSocket(listener.url);
  await new Promise((resolve) => socket.once('open', resolve));
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  );
  cleanups.push(() => socket.terminate());
  return { socket, closed, channel: await next(), listener, next };
}

describe('a channel over WebSocket', () => {
  it('carries messages both ways, by label, from nothing to several megabytes', async () => {
    const { client, server } = await pair();
    const sizes = [0, 1, 113, 114, 65_523, 65_524, 3_000_001];
    const payloads = sizes.map((size) => new Uint8Array(randomBytes(size)));
    payloads.forEach((payload, i) => {
      client.send(label(i, 1, 2), payload, 'offline', i);
      server.send(label(i, 3, 4), payload, 'online', i);
    });
    for (const i of [...sizes.keys()].reverse()) {
      const there = await server.receive(label(i, 1, 2));
      const here = await client.receive(label(i, 3, 4));
      expect(Buffer.compare(there.payload, payloads[i]!)).toBe(0);
      expect(Buffer.compare(here.payload, payloads[i]!)).toBe(0);
      expect([there.depth, here.depth]).toEqual([i, i]);
    }
    const bytes = sizes.reduce((sum, size) => sum + size + labelBytes, 0);
    expect(client.sent.offline).toEqual({ bytes, messages: sizes.length });
    expect(server.received).toEqual(client.sent);
    expect(client.received).toEqual(server.sent);
  });

  it('counts its framing to the byte', async () => {
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => void listener.close());
    const { listener: target } = await serve();
    // A relay that counts what the client writes after the handshake.
    let counted = 0;
    listener.on('connection', (from: Socket) => {
      const to = connectTcp(target.port, '127.0.0.1');
      let handshake = true;
      from.on('data', (chunk) => {
        if (!handshake) counted += chunk.length;
        else handshake = !chunk.includes('\r\n\r\n');
        to.write(chunk);
      });
      to.on('data', (chunk) => from.write(chunk));
      from.on('close', () => to.destroy());
      to.on('close', () => from.destroy());
    });
    const { port } = listener.address() as { port: number };
    const client = await connect(`ws://127.0.0.1:${port}`);
    for (const [i, size] of [0, 113, 114, 70_000].entries()) client.send(label(i), new Uint8Array(size), 'online', 0);
    await expect.poll(() => counted).toBe(client.sent.online.bytes + client.framingBytes);
    client.close();
  });

  it('says when what was sent is on its way, and holds back a sender whose peer reads slowly', async () => {
    const { client, server } = await pair();
    await client.drained();
    const chunk = new Uint8Array(1 << 20);
    let most = 0;
    for (let i = 0; i < 24; i++) {
      client.send(label(i), chunk, 'offline', 0);
      await client.drained();
      most = Math.max(most, i + 1 - server.received.offline.messages);
    }
    await server.receive(label(23));
    expect(server.received.offline.messages).toBe(24);

    const { socket, channel } = await stranger();
    socket.pause();
    let sent = 0;
    const pump = (async () => {
      for (; sent < 200; sent++) {
        channel.send(label(sent), chunk, 'offline', 0);
        await channel.drained();
      }
    })();
    let before = -1;
    const stalled = (): boolean => {
      const same = before === sent;
      before = sent;
      return same;
    };
    await expect.poll(stalled, { interval: 100 }).toBe(true);
    // What the two kernels' socket buffers hold comes on top of our own mark.
    expect(sent).toBeLessThan(highWaterBytes / chunk.length + 60);
    socket.resume();
    await pump;
    expect(sent).toBe(200);
  });

  it('holds a peer back whose messages nobody asks for, until somebody asks for one', async () => {
    const { client, server } = await pair();
    const message = new Uint8Array(4 << 20);
    const count = 40;
    for (let i = 0; i < count; i++) client.send(label(i), message, 'offline', 0);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(server.received.offline.bytes).toBeLessThan((count / 2) * message.length);
    // Behind all the others.
    expect((await server.receive(label(count - 1))).payload.length).toBe(message.length);
    for (let i = 0; i < count - 1; i++) await server.receive(label(i));
    await client.drained();
  });

  it('ends in order: what was sent before the close arrives', async () => {
    const { client, server } = await pair();
    client.send(label(1), new Uint8Array(5_000_000), 'online', 0);
    client.send(label(2), text('last'), 'online', 0);
    client.close();
    expect(await server.ended).toBeUndefined();
    expect((await server.receive(label(2))).payload).toEqual(Buffer.from('last'));
    expect((await server.receive(label(1))).payload).toHaveLength(5_000_000);
    await expect(server.receive(label(3))).rejects.toMatchObject({ code: 'peer-left' });
  });

  it('tells the peer why it ends, in as much as fits into a close frame', async () => {
    const { client, server } = await pair();
    const waiting = client.receive(label(1));
    server.close(`the model is gone ${'ü'.repeat(200)}`);
    const error = await waiting.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(PeerError);
    expect(error).toMatchObject({ code: 'peer-failed', message: expect.stringContaining('the model is gone ü') });
    expect((error as PeerError).message).not.toContain('\uFFFD');
    expect(await client.ended).toBe(error);
  });

  it('ends every channel with the listener, and frees the port', async () => {
    const { client, listener } = await pair();
    open.splice(0);
    await listener.close('stopped');
    expect(await client.ended).toMatchObject({ code: 'peer-failed', message: expect.stringContaining('stopped') });
    const { listener: again } = await serve({ port: listener.port });
    expect(again.port).toBe(listener.port);
  });
});

describe('a peer that breaks the rules ends its own channel and nothing else', () => {
  const frame = (at: Label, size = 0) => encodeFrame(at, new Uint8Array(size), 'online', 0);
  const cases: [string, Partial<ChannelLimits>, (socket: WebSocket) => void, string][] = [
    ['garbage', {}, (s) => s.send(randomBytes(100).fill(255, 96)), 'peer-garbage'],
    ['a truncated header', {}, (s) => s.send(frame(label(1)).subarray(0, 11)), 'peer-garbage'],
    ['an empty message', {}, (s) => s.send(Buffer.alloc(0)), 'peer-garbage'],
    ['a text message', {}, (s) => s.send('hello, are you there?'), 'peer-garbage'],
    ['an oversized message', { maxFrameBytes: 1000 }, (s) => s.send(frame(label(1), 1000)), 'peer-oversized'],
    [
      'a label twice',
      {},
      (s) => {
        s.send(frame(label(1)));
        s.send(frame(label(1)));
      },
      'peer-repeated',
    ],
    [
      'a flood nobody asked for',
      { maxQueuedBytes: 100_000 },
      (s) => {
        for (let i = 0; i < 200; i++) s.send(frame(label(i), 1000));
      },
      'peer-flood',
    ],
    [
      'bytes that are no WebSocket frame',
      {},
      (s) => (s as unknown as { _socket: Socket })._socket.write(Buffer.from('GET / HTTP/1.1\r\n\r\n')),
      'peer-garbage',
    ],
    [
      'a header that promises an enormous frame',
      {},
      (s) => (s as unknown as { _socket: Socket })._socket.write(Buffer.from('82ff0000ffffffffffff00000000', 'hex')),
      'peer-oversized',
    ],
    ['a connection that breaks', {}, (s) => s.terminate(), 'peer-left'],
    ['a farewell without a word', {}, (s) => s.close(), 'peer-left'],
    ['a page that is left', {}, (s) => s.close(1001), 'peer-left'],
    ['a close code of its own', {}, (s) => s.close(3456, 'because'), 'peer-failed'],
  ];
  it.each(cases)('%s', async (_, limits, misbehave, code) => {
    const { socket, closed, channel, listener, next } = await stranger(limits);
    socket.on('error', () => undefined);
    const waiting = channel.receive(label(77, 7, 7));
    misbehave(socket);
    const error = await waiting.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(PeerError);
    expect(error).toMatchObject({ code });
    expect(await channel.ended).toBe(error);
    await closed;
    const [good, there] = await Promise.all([connect(listener.url, { limits }), next()]);
    good.send(label(1), text('still here'), 'online', 0);
    expect((await there.receive(label(1))).payload).toEqual(Buffer.from('still here'));
    good.close();
  });

  it('is told so, and cut off when it does not answer', async () => {
    const { socket, closed, channel } = await stranger({ waitSeconds: 0.05 });
    await expect(channel.receive(label(1))).rejects.toMatchObject({ code: 'peer-silent' });
    expect(await closed).toEqual({ code: 4000, reason: 'peer-silent: nothing came within 0.05 s' });
    expect(socket.readyState).toBe(socket.CLOSED);
  });

  it('is noticed when it is silently dead, though nobody waits for it', async () => {
    const { socket, channel } = await stranger({ waitSeconds: 0.4 });
    socket.pause();
    expect(await channel.ended).toMatchObject({ code: 'peer-silent' });
  });

  it('stays when it is idle but alive', async () => {
    const { client, server } = await pair({ waitSeconds: 0.2 });
    await new Promise((resolve) => setTimeout(resolve, 600));
    client.send(label(1), text('yes'), 'online', 0);
    expect((await server.receive(label(1))).payload).toEqual(Buffer.from('yes'));
  });
});

describe('connecting', () => {
  it('refuses what is no address', async () => {
    for (const wrong of ['', 'localhost', 'localhost:8080', 'ftp://localhost', 'ws://', 'ws://localhost:99999', 'ws://localhost/#part']) {
      await expect(connect(wrong), wrong).rejects.toBeInstanceOf(UsageError);
    }
  });

  it('says that nobody listens', async () => {
    const { listener } = await serve();
    await open.pop()!.close();
    await expect(connect(listener.url)).rejects.toMatchObject({
      code: 'peer-refused',
      exitStatus: 4,
      hint: expect.stringContaining('running'),
    });
    await expect(connect(listener.url.replace('127.0.0.1', 'localhost'))).rejects.toMatchObject({ code: 'peer-refused' });
  });

  it('says that a name is unknown', async () => {
    await expect(connect('ws://no-such-host.invalid:1')).rejects.toMatchObject({ code: 'peer-unknown-host', exitStatus: 4 });
  });

  it('gives up on a peer that accepts and says nothing', async () => {
    const mute = createServer();
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const sockets: Socket[] = [];
    mute.on('connection', (socket) => sockets.push(socket));
    cleanups.push(() => {
      mute.close();
      for (const socket of sockets) socket.destroy();
    });
    const { port } = mute.address() as { port: number };
    await expect(connect(`ws://127.0.0.1:${port}`, { timeoutSeconds: 0.1 })).rejects.toMatchObject({ code: 'peer-unreachable' });
    await expect(connect(`wss://127.0.0.1:${port}`, { timeoutSeconds: 0.1 })).rejects.toMatchObject({ code: 'peer-unreachable' });
  });

  it('says that something else answers', async () => {
    const { listener, paths } = await serve({ path: '/tessera' });
    expect(listener.url).toMatch(/\/tessera$/);
    await expect(connect(listener.url.replace('/tessera', '/other'))).rejects.toMatchObject({ code: 'peer-not-tessera' });
    (await connect(listener.url)).close();
    expect(paths).toEqual(['/tessera']);
    const page = await fetch(listener.url.replace('ws:', 'http:'));
    expect(page.status).toBe(426);
    expect(await page.text()).toContain('Tessera');
  });

  it('leaves the listener alone when a stranger speaks another language', async () => {
    const { listener, next } = await serve();
    for (const words of ['SSH-2.0-OpenSSH_9.2\r\n', `GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}`, '\0\0\0\0']) {
      const socket = connectTcp(listener.port, '127.0.0.1');
      socket.on('error', () => undefined).on('data', () => undefined);
      socket.write(words);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    const [client] = await Promise.all([connect(listener.url), next()]);
    client.close();
  });

  it('reports a port that is taken', async () => {
    const { listener } = await serve();
    await expect(serve({ port: listener.port })).rejects.toMatchObject({ code: 'cannot-listen', exitStatus: 2 });
  });
});

describe('TLS', () => {
  const certificate = (name: string) =>
    generate([{ name: 'commonName', value: name }], {
      keyType: 'ec',
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
    });

  it('encrypts, and trusts only the certificate it was given', async () => {
    const [own, other] = await Promise.all([certificate('localhost'), certificate('localhost')]);
    const tls = { cert: own.cert, key: own.private };
    const { listener, next } = await serve({ host: 'localhost', tls });
    expect(listener.url).toMatch(/^wss:/);
    const [client, server] = await Promise.all([connect(listener.url, { tls: { ca: own.cert } }), next()]);
    const payload = new Uint8Array(randomBytes(300_000));
    client.send(label(1), payload, 'online', 0);
    server.send(label(1), payload, 'online', 0);
    expect(Buffer.compare((await server.receive(label(1))).payload, payload)).toBe(0);
    expect(Buffer.compare((await client.receive(label(1))).payload, payload)).toBe(0);
    client.close();

    const untrusted = { code: 'peer-untrusted', exitStatus: 4 };
    await expect(connect(listener.url)).rejects.toMatchObject(untrusted);
    await expect(connect(listener.url, { tls: { ca: other.cert } })).rejects.toMatchObject(untrusted);
    await expect(connect(listener.url.replace('localhost', '127.0.0.1'), { tls: { ca: own.cert } })).rejects.toMatchObject(untrusted);
    await expect(connect(listener.url.replace('wss:', 'ws:'))).rejects.toBeInstanceOf(PeerError);
    const { listener: plain } = await serve();
    await expect(connect(plain.url.replace('ws:', 'wss:'))).rejects.toMatchObject(untrusted);
  });

  it('refuses a certificate that is none', async () => {
    await expect(serve({ tls: { cert: 'no', key: 'no' } })).rejects.toMatchObject({ code: 'bad-certificate', exitStatus: 2 });
  });
});
