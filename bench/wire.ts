// tessera bench wire: what the transports carry between two processes on this machine in messages of 1 MB, beside plain TCP and beside `ws`
// with random masks, and what the key streams give.
import { type ChildProcess, fork } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { generate } from 'selfsigned';
import { WebSocket, WebSocketServer } from 'ws';
import { createNodeCompute } from '../src/kernel/pool.node.js';
import { randomBytes } from '../src/random/seeds.js';
import { createStreams } from '../src/random/streams.js';
import type { Channel } from '../src/wire/channel.js';
import { connect, listen } from '../src/wire/websocket.node.js';
import { benchOptions, median, printRows } from './_parties.js';

interface WireRow {
  readonly case: string;
  readonly bytes: number;
  readonly runs: number;
  readonly seconds: number;
  readonly bytesPerSecond: number;
  /** Rate as a share of the first row of its kind: plain TCP, or node:crypto by itself. */
  readonly ratio: number;
}

const runs = 5;
const messageBytes = 1 << 20;
const messages = 200;

/** One transport: the sending process writes `messages` messages, the receiving one says when the last is there. */
interface Case {
  readonly name: string;
  readonly transport: 'tcp' | 'ws' | 'channel' | 'tls';
  /** Which side sends: the one that connected, or the one that listens. */
  readonly from: 'client' | 'server';
}

const cases: readonly Case[] = [
  { name: 'node:net', transport: 'tcp', from: 'client' },
  { name: 'ws, random masks, client > server', transport: 'ws', from: 'client' },
  { name: 'channel, client > server', transport: 'channel', from: 'client' },
  { name: 'channel, server > client', transport: 'channel', from: 'server' },
  { name: 'channel over TLS, client > server', transport: 'tls', from: 'client' },
  { name: 'channel over TLS, server > client', transport: 'tls', from: 'server' },
];

/** An open end: how it sends one message, and how it waits for all of them. */
interface End {
  send(): Promise<void>;
  receiveAll(): Promise<void>;
  close(): void;
}

const payload = new Uint8Array(messageBytes);

function channelEnd(channel: Channel): End {
  const label = (inference: number) => ({ inference, step: 0, name: 0 });
  let sent = 0;
  return {
    async send() {
      channel.send(label(sent++), payload, 'online', 0);
      await channel.drained();
    },
    async receiveAll() {
      for (let i = 0; i < messages; i++) await channel.receive(label(i));
    },
    close: () => channel.close(),
  };
}

function socketEnd(socket: Socket): End {
  return {
    send: async () => void (socket.write(payload) || (await once(socket, 'drain'))),
    receiveAll: () =>
      new Promise((resolve) => {
        let left = messages * messageBytes;
        socket.on('data', (data) => {
          left -= data.length;
          if (left <= 0) resolve();
        });
      }),
    close: () => socket.destroy(),
  };
}

function webSocketEnd(socket: WebSocket): End {
  return {
    send: () => new Promise((resolve) => socket.send(payload, () => resolve())),
    receiveAll: () =>
      new Promise((resolve) => {
        let left = messages;
        socket.on('message', () => --left === 0 && resolve());
      }),
    close: () => socket.terminate(),
  };
}

interface Serving {
  readonly address: string;
  readonly end: Promise<End>;
  close(): unknown;
}

async function serve(transport: Case['transport'], tls: { cert: string; key: string }): Promise<Serving> {
  let arrived: (end: End) => void = () => undefined;
  const end = new Promise<End>((resolve) => {
    arrived = resolve;
  });
  const at = { host: '127.0.0.1', port: 0 };
  if (transport === 'tcp') {
    const server = createServer((socket) => arrived(socketEnd(socket))).listen(at);
    await once(server, 'listening');
    return { address: String((server.address() as AddressInfo).port), end, close: () => server.close() };
  }
  if (transport === 'ws') {
    const server = new WebSocketServer({ ...at, perMessageDeflate: false });
    server.on('connection', (socket) => arrived(webSocketEnd(socket)));
    await once(server, 'listening');
    return { address: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, end, close: () => server.close() };
  }
  const options = transport === 'tls' ? { ...at, host: 'localhost', tls } : at;
  const listener = await listen({ ...options, onConnection: (channel) => arrived(channelEnd(channel)) });
  return { address: listener.url, end, close: () => listener.close() };
}

async function connectTo(transport: Case['transport'], address: string, ca: string): Promise<End> {
  if (transport === 'tcp') {
    const socket = connectTcp(Number(address), '127.0.0.1');
    await once(socket, 'connect');
    return socketEnd(socket);
  }
  if (transport === 'ws') {
    const socket = new WebSocket(address, { perMessageDeflate: false });
    await once(socket, 'open');
    return webSocketEnd(socket);
  }
  return channelEnd(await connect(address, transport === 'tls' ? { tls: { ca } } : {}));
}

type Order = Case & { readonly address: string; readonly ca: string };

async function sendAll(end: End): Promise<void> {
  for (let i = 0; i < messages; i++) await end.send();
}

/** The other process: connects as it is told, and sends or receives. */
async function obey(order: Order): Promise<void> {
  const end = await connectTo(order.transport, order.address, order.ca);
  if (order.from === 'server') await end.receiveAll();
  else await sendAll(end);
  process.send!('done');
  process.once('message', () => end.close());
}

/** Seconds for one run of a case. */
async function measure(other: ChildProcess, which: Case, tls: { cert: string; key: string }): Promise<number> {
  const serving = await serve(which.transport, tls);
  const done = once(other, 'message');
  other.send({ ...which, address: serving.address, ca: tls.cert } satisfies Order);
  const end = await serving.end;
  const start = performance.now();
  await (which.from === 'client' ? end.receiveAll() : sendAll(end));
  await done;
  const seconds = (performance.now() - start) / 1000;
  other.send('close');
  end.close();
  await serving.close();
  return seconds;
}

async function transports(): Promise<WireRow[]> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
  });
  const other = fork(fileURLToPath(import.meta.url), ['--other']);
  const seconds = cases.map((): number[] => []);
  // Case after case within a run, so that a busy machine slows all of them alike; the first run warms up.
  for (let run = 0; run <= runs; run++) {
    for (const [i, which] of cases.entries()) {
      const took = await measure(other, which, { cert, key });
      if (run > 0) seconds[i]!.push(took);
    }
  }
  other.disconnect();
  return rowsOf(
    cases.map(({ name }) => name),
    seconds,
    messages * messageBytes,
  );
}

async function streams(threads: number): Promise<WireRow[]> {
  const compute = await createNodeCompute({ threads });
  const source = createStreams(compute, randomBytes(16));
  const out = compute.bytes(16 << 20);
  const total = 64 << 20;
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16));
  const zeros = new Uint8Array(1 << 18);
  const sizes = [16 << 20, 1 << 20, 64 << 10];
  const seconds: number[][] = [[], ...sizes.map(() => [])];
  let inference = 0;
  for (let run = 0; run <= runs; run++) {
    const times = [await timed(total / zeros.length, async () => void cipher.update(zeros))];
    for (const size of sizes) {
      const draw = () => source.draw({ inference: inference++, step: 0, tensor: 0 }, out.subarray(0, size));
      times.push(await timed(total / size, draw));
    }
    if (run > 0) for (const [i, took] of times.entries()) seconds[i]!.push(took);
  }
  await compute.close();
  const names = ['AES-128-CTR, node:crypto, one thread', ...sizes.map((size) => `key stream, draws of ${size >> 10} KiB`)];
  return rowsOf(names, seconds, total);
}

async function timed(times: number, act: () => Promise<void>): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < times; i++) await act();
  return (performance.now() - start) / 1000;
}

function rowsOf(names: readonly string[], seconds: readonly number[][], bytes: number): WireRow[] {
  const first = median(seconds[0]!);
  return names.map((name, i) => {
    const took = median(seconds[i]!);
    return { case: name, bytes, runs, seconds: took, bytesPerSecond: bytes / took, ratio: first / took };
  });
}

if (process.argv.includes('--other')) {
  process.on('message', (order: Order | 'close') => order !== 'close' && void obey(order));
} else {
  const options = benchOptions();
  const rows = [...(await transports()), ...(await streams(options.threads))];
  printRows(rows, options, {
    case: (row) => row.case,
    'GB/s': (row) => (row.bytesPerSecond / 1e9).toFixed(2),
    ratio: (row) => row.ratio.toFixed(2),
  });
}
