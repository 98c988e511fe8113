// The client role in headless Chromium, with server and provider as processes of their own.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDataset, readPreprocessing } from '../../src/data/dataset.node.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { forward } from '../../src/model/forward.js';
import { readGraph } from '../../src/model/onnx.js';
import type * as client from '../../web/client.js';
import { bundleClient, missing, root, startBrowser, startParty, startSite } from './hosts.js';

/** Where pages find the bundle. */
type Global = { tessera: typeof client };

/** The built-in network and one of its pictures; where it has not been trained, a network for digits. */
const builtIn = { model: join(root, 'models/cifar10-resnet20.onnx'), data: join(root, 'models/pictures') };
const digits = { model: join(root, '../shared/data/mnist/mnist-7.onnx'), data: join(root, '../shared/data/mnist/mnist-7.test.json') };
const network = [builtIn, digits].find(({ model }) => existsSync(model));
const reason = missing ?? (network === undefined ? 'neither models/cifar10-resnet20.onnx nor ../shared/data' : undefined);

describe.skipIf(reason !== undefined)(`the client in a browser${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  const ends: (() => unknown)[] = [];
  let browser: Browser;
  let site: string;
  let provider: Awaited<ReturnType<typeof startParty>>;
  let server: Awaited<ReturnType<typeof startParty>>;
  let picture: number[];
  let plaintext: number[];

  beforeAll(async () => {
    const { model, data } = network!;
    ({ picture, plaintext } = await reference(model, data));
    provider = await startParty(ends, 'provider', '--listen', '127.0.0.1:0');
    server = await startParty(ends, 'server', model, '--calibrate', data, '--listen', '127.0.0.1:0', '--provider', provider.url);
    site = await startSite(ends, await bundleClient());
    browser = await startBrowser(ends);
  });
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  const openPage = async (path: string): Promise<Page> => {
    const page = await browser.newPage();
    await page.goto(site + path);
    await page.waitForFunction(() => 'tessera' in globalThis);
    return page;
  };

  it.each([
    ['with threads, in a page that is cross-origin isolated', '/isolated', 2],
    ['on one thread, in a page that is not', '/plain', 1],
  ])('gives the private answer %s', async (_, path, threads) => {
    const page = await openPage(path);
    const answer = await page.evaluate(
      async ({ urls, pixels }) => {
        const session = await (globalThis as unknown as Global).tessera.openSession({ ...urls, threads: 2 });
        const one = await session.infer(Float32Array.from(pixels));
        const two = await session.infer(Float32Array.from([...pixels, ...pixels]), 2);
        await session.close();
        return { threads: session.threads, logits: [one, two].flatMap(({ outputs }) => outputs.map((output) => Array.from(output))) };
      },
      { urls: { server: server.url, provider: provider.url }, pixels: picture },
    );
    expect(answer.threads).toBe(threads);
    expect(answer.logits).toHaveLength(3);
    for (const logits of answer.logits) {
      expect(logits.indexOf(Math.max(...logits))).toBe(plaintext.indexOf(Math.max(...plaintext)));
      expect(Math.max(...logits.map((value, i) => Math.abs(value - plaintext[i]!)))).toBeLessThan(0.1);
    }
    await page.close();
  });

  it('says in a typed error that nobody listens, or that it is a session with the wrong program', async () => {
    const page = await openPage('/plain');
    const attempt = (urls: { server: string; provider: string; pinnedHash?: string }) =>
      page.evaluate(
        (options) =>
          (globalThis as unknown as Global).tessera.openSession(options).then(
            () => 'opened',
            (error: { name: string; code: string }) => error.code,
          ),
        urls,
      );
    expect(await attempt({ server: 'ws://127.0.0.1:1', provider: provider.url })).toBe('peer-unreachable');
    expect(await attempt({ server: 'http://127.0.0.1', provider: provider.url })).toBe('bad-address');
    expect(await attempt({ server: server.url, provider: provider.url, pinnedHash: '0'.repeat(64) })).toBe('wrong-program');
    expect(await attempt({ server: server.url, provider: provider.url })).toBe('opened');
    await page.close();
  });

  // Last: it ends the server.
  it('notices when the server is killed', async () => {
    const page = await openPage('/isolated');
    const waiting = page.evaluate(
      async ({ urls, pixels }) => {
        const session = await (globalThis as unknown as Global).tessera.openSession(urls);
        (globalThis as unknown as { opened: boolean }).opened = true;
        for (;;) {
          try {
            await session.infer(Float32Array.from(pixels));
          } catch (error) {
            return (error as { code: string }).code;
          }
        }
      },
      { urls: { server: server.url, provider: provider.url }, pixels: picture },
    );
    await page.waitForFunction(() => 'opened' in globalThis);
    server.process.kill('SIGKILL');
    expect(await waiting).toMatch(/^peer-/);
  });
});

/** The first picture as the network reads it, and what the network makes of it in float. */
async function reference(model: string, data: string): Promise<{ picture: number[]; plaintext: number[] }> {
  const stated = model.replace(/onnx$/, 'json');
  const dataset = await loadDataset(data, { limit: 1, preprocessing: (await readPreprocessing(stated)).preprocessing });
  const images = await dataset.read(0, 1);
  const compute = await createNodeCompute({ inline: true });
  const scores = await forward(compute, readGraph(readFileSync(model)), images, 1);
  await compute.close();
  return { picture: Array.from(images), plaintext: Array.from(scores) };
}
