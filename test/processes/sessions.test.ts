// Sessions between three real processes: one after another, at once, in batches, as a stream, with TLS; and what ends one before it starts.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import type { ClientSession } from '../../src/party/client.js';
import { suites } from '../../src/party/session.js';
import { estimate } from '../../src/protocol/estimate.js';
import { connect } from '../../src/wire/websocket.node.js';
import { twoLayers, values } from '../networks.js';
import {
  type Addresses,
  type Bench,
  built,
  expected,
  openBench,
  openClient,
  type Prepared,
  prepare,
  tolerance,
  writeArray,
} from './parties.js';

/** A port where nobody listens: discard, which needs root. */
const dead = 'ws://127.0.0.1:9';

describe.skipIf(!built)('sessions of three processes (after npm run build)', () => {
  let compute: Compute;
  let bench: Bench;
  let model: Prepared;
  let addresses: Addresses;
  let picture: string;
  beforeAll(async () => {
    compute = await createNodeCompute({ inline: true });
    bench = openBench();
    model = await prepare(compute, join(bench.folder, 'model'), twoLayers());
    const provider = await bench.listening(['provider', '--wait-seconds', '20', '--idle-seconds', '30']);
    const server = await bench.listening(['server', model.folder, '--provider', provider.url, '--wait-seconds', '20', '--max-batch', '8']);
    addresses = { server: server.url, provider: provider.url };
    picture = join(bench.folder, 'pictures.npy');
    writeArray(picture, [3, 2, 4, 4], model.images(3, 5));
  });
  afterAll(async () => {
    bench.end();
    await compute.close();
  });

  async function check(client: ClientSession, images: Float32Array, count: number): Promise<void> {
    const { outputs } = await client.infer(images, count);
    await compare(outputs, images, count);
  }

  async function compare(outputs: readonly Float32Array[], images: Float32Array, count: number): Promise<void> {
    const want = await expected(compute, model, images, count);
    const slack = tolerance(model) * want.unit;
    const flat = outputs.flatMap((row) => [...row]);
    expect(flat).toHaveLength(want.outputs.length);
    for (const [i, value] of flat.entries()) expect(Math.abs(value - want.outputs[i]!)).toBeLessThanOrEqual(slack);
  }

  const infer = (...args: string[]) => bench.start(['infer', '--json', '--data', picture, ...args]).exit;
  const here = () => ['--server', addresses.server, '--provider', addresses.provider];

  it('three commands: answers, and the bytes the estimate says on every link the client sees', async () => {
    for (const more of [[], ['--batch', '3', '--program', model.hash]]) {
      const { status, output, log } = await infer(...here(), ...more);
      expect(status, log + output).toBe(0);
      const report = JSON.parse(output);
      expect(report.estimateMatches).toBe(true);
      const logits = report.results.map((result: { logits: number[] }) => Float32Array.from(result.logits));
      await compare(logits, model.images(3, 5), 3);
    }
  });

  it('one command for three processes: the bytes of all links', async () => {
    const { status, output, log } = await bench.start(['run', model.folder, '--data', picture, '--parties', 'processes', '--json']).exit;
    expect(status, log + output).toBe(0);
    const report = JSON.parse(output);
    expect(report).toMatchObject({ estimateMatches: true, agreement: 1 });
    const predicted = estimate(model.program, suites.masked!);
    for (const phase of ['offline', 'online'] as const) {
      expect(Object.keys(report[phase].links).sort()).toEqual(Object.keys(predicted[phase].links).sort());
      expect(report[phase].rounds).toBe(predicted[phase].rounds);
    }
  });

  it('sessions one after another', async () => {
    for (let i = 0; i < 5; i++) {
      const client = await openClient(compute, addresses, { pinnedHash: model.hash });
      await check(client, model.images(1, i), 1);
      await client.close();
    }
  });

  it('clients at the same time', async () => {
    const clients = await Promise.all([1, 2, 3].map(() => openClient(compute, addresses)));
    await Promise.all(
      clients.map(async (client, c) => {
        for (let i = 0; i < 3; i++) await check(client, model.images(1, 10 * c + i), 1);
      }),
    );
    await Promise.all(clients.map((client) => client.close()));
  });

  it('batches up to the limit, and one above it ends its own session alone', async () => {
    const other = await openClient(compute, addresses);
    const client = await openClient(compute, addresses);
    await check(client, model.images(1), 1);
    await check(client, model.images(8), 8);
    await expect(client.infer(model.images(9), 9)).rejects.toMatchObject({ exitStatus: 4, message: expect.stringContaining('1 to 8') });
    await client.close();
    const ahead = await openClient(compute, addresses);
    const prepared = await Promise.all([8, 8, 8, 8].map((batch) => ahead.prepare(batch)));
    await Promise.all(prepared.map((each, i) => each.infer(model.images(8, i))));
    await ahead.close();
    await check(other, model.images(2), 2);
    await other.close();
  });

  it('strangers: a message larger than any of the model, and more messages than a session can need', async () => {
    for (const [url, size, count] of [
      [addresses.server, 3 << 20, 1],
      [addresses.server, 1 << 19, 8],
      [addresses.provider, 80 << 20, 1],
    ] as const) {
      const link = await connect(url);
      for (let i = 0; i < count; i++) link.send({ inference: 9, step: i, name: 1 }, new Uint8Array(size), 'offline', 1);
      expect(await link.ended).toMatchObject({ code: 'peer-failed', message: expect.stringMatching(/accepts|peer-flood/) });
    }
    const client = await openClient(compute, addresses);
    await check(client, model.images(1), 1);
    await client.close();
  });

  it('a stream: the next is prepared while one is answered, and material may wait and be used in any order', async () => {
    const client = await openClient(compute, addresses);
    let next = client.prepare(2);
    for (let i = 0; i < 5; i++) {
      const prepared = await next;
      next = client.prepare(2);
      const images = model.images(2, i);
      await compare((await prepared.infer(images)).outputs, images, 2);
    }
    const waiting = [await next, await client.prepare(1), await client.prepare(3)];
    for (const prepared of waiting.reverse()) {
      const images = model.images(prepared.batch, prepared.batch);
      await compare((await prepared.infer(images)).outputs, images, prepared.batch);
    }
    await client.close();
  });

  it('material up to a limit: what is asked for beyond it waits until some is used', async () => {
    const server = await bench.listening(['server', model.folder, '--provider', addresses.provider, '--prepare-bytes', '1']);
    const client = await openClient(compute, { server: server.url, provider: addresses.provider });
    const first = await client.prepare();
    let ready = false;
    const second = client.prepare().then((prepared) => {
      ready = true;
      return prepared;
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(ready).toBe(false);
    await first.infer(model.images(1));
    await (await second).infer(model.images(1));
    await client.close();
    server.child.kill('SIGKILL');
  });

  it('TLS with certificates: trusted where given, refused where not', async () => {
    const certificate = () =>
      generate([{ name: 'commonName', value: 'localhost' }], {
        keyType: 'ec',
        extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
      });
    const [own, other] = await Promise.all([certificate(), certificate()]);
    const file = (name: string, text: string) => {
      writeFileSync(join(bench.folder, name), text);
      return join(bench.folder, name);
    };
    const ca = file('cert.pem', own.cert);
    const keys = ['--cert', ca, '--key', file('key.pem', own.private)];
    const stranger = file('other.pem', other.cert);
    const provider = await bench.listening(['provider', ...keys]);
    const server = await bench.listening(['server', model.folder, '--provider', provider.url, '--ca', ca, ...keys]);
    expect([provider.url, server.url].map((url) => url.slice(0, 6))).toEqual(['wss://', 'wss://']);
    const there = ['--server', server.url, '--provider', provider.url];
    const [trusted, untrusted, unnamed, plain] = await Promise.all([
      infer(...there, '--ca', ca),
      infer(...there, '--ca', stranger),
      infer(...there),
      infer('--server', server.url.replace('wss', 'ws'), '--provider', provider.url, '--ca', ca),
    ]);
    expect([trusted.status, untrusted.status, unnamed.status, plain.status], trusted.log + trusted.output).toEqual([0, 4, 4, 4]);
    for (const { output } of [untrusted, unnamed]) expect(JSON.parse(output).error.code).toBe('peer-untrusted');
    // A server that does not trust the provider's certificate tells its client so.
    const wary = await bench.listening(['server', model.folder, '--provider', provider.url, '--ca', stranger]);
    const { status, output } = await infer('--server', wary.url, '--provider', provider.url, '--ca', ca);
    expect(status).toBe(4);
    expect(JSON.parse(output).error.message).toMatch(/TLS/);
  });

  it('another program than the one pinned ends with status 4', async () => {
    const { status, output } = await infer(...here(), '--program', '0'.repeat(64));
    expect([status, JSON.parse(output).error.code]).toEqual([4, 'wrong-program']);
  });

  it('an address where nobody listens ends with status 4, whoever connects there', async () => {
    const lonely = await bench.listening(['server', model.folder, '--provider', dead]);
    const [noServer, noProvider, neither] = await Promise.all([
      infer('--server', dead, '--provider', addresses.provider),
      infer('--server', addresses.server, '--provider', dead),
      infer('--server', lonely.url, '--provider', addresses.provider),
    ]);
    for (const { status, output } of [noServer, noProvider, neither]) {
      expect(status).toBe(4);
      expect(JSON.parse(output).error).toMatchObject({ message: expect.any(String), hint: expect.any(String) });
    }
    // And a session in which the client never reached its provider holds nobody up.
    const client = await openClient(compute, addresses);
    await check(client, values(model.size, 1), 1);
    await client.close();
  });

  it('parties mixed up are told so', async () => {
    const { status, output } = await infer('--server', addresses.provider, '--provider', addresses.server);
    expect(status).toBe(4);
    expect(JSON.parse(output).error.message).toMatch(/greeting|hello/);
  });
});
