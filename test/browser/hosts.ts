// What the browser test needs around the page: parties as processes, a bundle, a site that serves it, and Chromium.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { build } from 'vite';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const program = join(root, 'dist/src/cli/main.js');
const browser = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));

/** What is missing for a test with a browser, or undefined. */
export const missing = browser === undefined ? 'no Chromium on this machine' : existsSync(program) ? undefined : 'not built';

/** Ends what was started, the latest first. */
export interface Ends {
  push(end: () => unknown): void;
}

/** Starts `tessera …` and resolves with the URL it listens on. */
export async function startParty(ends: Ends, ...args: string[]): Promise<{ url: string; process: ChildProcess }> {
  const child = spawn(process.execPath, [program, ...args, '--json', '--quiet'], { stdio: ['ignore', 'pipe', 'pipe'] });
  ends.push(() => child.kill('SIGKILL'));
  let log = '';
  child.stderr.on('data', (data: Buffer) => {
    log += data.toString();
  });
  const url = await new Promise<string>((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
      const found = /"listening":\s*"([^"]+)"/.exec(output);
      if (found) resolve(found[1]!);
    });
    child.once('exit', (status) => reject(new Error(`tessera ${args.join(' ')} ended with ${status}: ${output}${log}`)));
  });
  return { url, process: child };
}

/** Bundles web/client.ts and returns its text. */
export async function bundleClient(): Promise<string> {
  const outDir = mkdtempSync(join(tmpdir(), 'tessera-web-'));
  try {
    await build({ configFile: join(root, 'web/vite.config.ts'), logLevel: 'warn', build: { outDir } });
    return readFileSync(join(outDir, 'client.js'), 'utf8');
  } finally {
    rmSync(outDir, { recursive: true });
  }
}

/**
 * Serves a page that does nothing but load the bundle: `/isolated` with the headers that let it share memory between threads, `/plain`
 * without. The module is there as `tessera` once the page has loaded.
 */
export async function startSite(ends: Ends, bundle: string): Promise<string> {
  const page = `<!doctype html><title>Tessera</title><script type="module">import * as tessera from '/client.js'; globalThis.tessera = tessera;</script>`;
  const isolation = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
  const site = createServer((request, response) => {
    const script = request.url === '/client.js';
    const headers = { 'content-type': script ? 'text/javascript' : 'text/html', ...(request.url === '/isolated' ? isolation : {}) };
    response.writeHead(200, headers).end(script ? bundle : page);
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  ends.push(() => site.close());
  return `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
}

export async function startBrowser(ends: Ends): Promise<Browser> {
  const started = await chromium.launch({
    executablePath: browser!,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  ends.push(() => started.close());
  return started;
}
