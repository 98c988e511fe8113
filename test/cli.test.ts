// The tessera command as a person or a program meets it: exit statuses, JSON, help, Ctrl-C, and three parties as three commands.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import { afterAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const { bin, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: { tessera: string }; version: string };
const main = join(root, bin.tessera);
const model = join(root, 'models/cifar10-resnet20.onnx');
const preprocessing = join(root, 'models/cifar10-resnet20.json');
const cat = join(root, 'models/pictures/cat.png');
const horse = join(root, 'models/pictures/horse.png');

const folder = mkdtempSync(join(tmpdir(), 'tessera-cli-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

const environment = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') };

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function tessera(...args: string[]): Result {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: environment, timeout: 100_000 });
  return { status, stdout, stderr };
}

// biome-ignore lint/suspicious/noExplicitAny: JSON of a command, looked at key by key.
function json(...args: string[]): any {
  const { status, stdout, stderr } = tessera(...args, '--json', '--quiet');
  expect(status, stderr + stdout).toBe(0);
  return JSON.parse(stdout);
}

/** Starts a command that serves, and resolves with its one JSON object once it listens. */
async function serving(...args: string[]): Promise<{ readonly child: ChildProcess; readonly listening: string; readonly hash?: string }> {
  const child = spawn(process.execPath, [main, ...args, '--json', '--threads', '1'], {
    env: environment,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(child);
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout?.setEncoding('utf8').once('data', resolve);
    child.once('exit', (status) => reject(new Error(`${args[0]} ended with ${status}`)));
  });
  return { child, ...JSON.parse(line) };
}

const commands = ['demo', 'inspect', 'compile', 'estimate', 'run', 'provider', 'server', 'infer', 'evaluate', 'distort', 'solve', 'bench'];

describe('help', () => {
  it.each(commands)('%s --help has an example of itself', (command) => {
    const { status, stdout } = tessera(command, '--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`Example:\\n {2}\\$ tessera ${command}`));
    for (const flag of ['--json', '--quiet', '--threads']) expect(stdout).toContain(flag);
  });

  it('prints the version', () => {
    expect(tessera('--version').stdout.trim()).toBe(version);
  });
});

describe('errors', () => {
  const broken = join(folder, 'broken.onnx');
  writeFileSync(broken, 'no network');

  it.each([
    ['no command', [], 2, 'usage'],
    ['an unknown command', ['guess'], 2, 'usage'],
    ['an argument too few', ['inspect'], 2, 'usage'],
    ['an unknown flag', ['inspect', broken, '--nosuch'], 2, 'usage'],
    ['a flag with a bad value', ['inspect', broken, '--threads', 'many'], 2, 'usage'],
    ['pictures named twice', ['run', model, cat, '--data', cat], 2, 'usage'],
    ['a budget there is no network for', ['demo', '--budget', '7%'], 2, 'usage'],
    ['a bad network', ['run', model, cat, '--network', 'fast'], 2, 'bad-network'],
    ['a bad address', ['provider', '--listen', 'here'], 2, 'bad-address'],
    ['a file that is no network', ['inspect', broken], 3, 'bad-model'],
    ['a missing model', ['inspect', join(folder, 'nosuch.onnx')], 3, 'no-such-file'],
    ['a missing picture', ['run', model, join(folder, 'nosuch.png')], 3, 'no-such-file'],
    ['a folder that is no model', ['estimate', folder], 3, 'bad-compiled-model'],
    ['a peer that is not there', ['infer', cat, '--server', 'ws://127.0.0.1:9', '--provider', 'ws://127.0.0.1:9'], 4, undefined],
  ] as const)('%s', (_, args, status, code) => {
    const result = tessera(...args, '--json');
    expect(result.status, result.stdout + result.stderr).toBe(status);
    const { error } = JSON.parse(result.stdout);
    expect(error.message).toBeTruthy();
    expect(error.hint).toBeTruthy();
    if (code !== undefined) expect(error.code).toBe(code);
  });

  it('are one line on standard error without --json', () => {
    const { stdout, stderr } = tessera('inspect', broken);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});

describe.skipIf(!existsSync(model))('with the built-in network', () => {
  const compiled = join(folder, 'net');

  it('shows itself: one picture, in three processes', () => {
    const { results, budget, ringBits, estimateMatches, measured = [] } = json('demo', '--threads', '1');
    expect(results).toMatchObject([{ class: 'cat', label: 3, plaintextLabel: 3 }]);
    expect([budget, ringBits, estimateMatches]).toEqual(['full', 32, true]);
    for (const { agreement, online } of measured) expect([agreement > 0.9, online.bytes > 0]).toEqual([true, true]);
  });

  it.each(['25%', '12%', '6%'])('shows what a budget of %s buys, or says that it has no network for it', (budget) => {
    const there = existsSync(model.replace('.onnx', `-${Number.parseInt(budget, 10)}.onnx`));
    const { status, stdout } = tessera('demo', '--budget', budget, '--threads', '1', '--json', '--quiet');
    const { results, budget: taken, error } = JSON.parse(stdout);
    expect(status, stdout).toBe(there ? 0 : 3);
    if (!there) return expect(error).toMatchObject({ code: 'no-such-file', hint: expect.stringContaining('npm run models') });
    expect(taken).toBe(budget);
    expect(results[0].label).toBe(results[0].plaintextLabel);
  });

  it('compiles to a folder whose weights only the owner can read', () => {
    const report = json('compile', model, '--data', join(root, 'models/pictures'), '--preprocess', preprocessing, '-o', compiled);
    expect(report).toMatchObject({ ringBits: 32, drelus: 188416, clipped: 0, calibratedOn: { images: 4 } });
    expect(statSync(report.weights).mode & 0o777).toBe(0o600);
    expect(tessera('run', compiled, cat, '--spec', preprocessing).status).toBe(2);
  });

  it('estimates what a run then sends, to the byte', () => {
    const { suites } = json('estimate', compiled, '--batch', '2', '--suite', 'masked');
    const run = json('run', compiled, cat, horse, '--batch', '2', '--parties', 'processes');
    expect(run.estimateMatches).toBe(true);
    for (const phase of ['offline', 'online']) {
      expect(run[phase].links).toEqual(suites.masked[phase].links);
      expect(run[phase].rounds).toBe(suites.masked[phase].rounds);
    }
    expect(run.results.map((result: { class: string }) => result.class)).toEqual(['cat', 'horse']);
    expect(run.framing).toBeGreaterThan(0);
    for (const role of ['client', 'server', 'provider']) {
      expect(run.peakBytes[role] / suites.masked.peakBytes[role]).toBeGreaterThan(0.7);
      expect(run.peakBytes[role] / suites.masked.peakBytes[role]).toBeLessThan(1.4);
    }
  });

  it('answers alike in memory, with the float network as plaintext', () => {
    const run = json('run', model, cat, '--preprocess', preprocessing, '--calibrate', join(root, 'models/pictures'));
    expect(run).toMatchObject({ agreement: 1, estimateMatches: true, plaintext: 'float', calibratedOn: { source: 'pictures' } });
    expect(run.maxAbsError).toBeLessThan(0.05);
  });

  it('serves a client from three commands, and ends with status 130 on Ctrl-C', async () => {
    const provider = await serving('provider', '--listen', '127.0.0.1:0');
    const server = await serving('server', compiled, '--listen', '127.0.0.1:0', '--provider', provider.listening);
    const infer = (...more: string[]) =>
      tessera('infer', cat, '--server', server.listening, '--provider', provider.listening, '--json', ...more);
    const answer = infer('--program', server.hash as string);
    expect(answer.status, answer.stdout + answer.stderr).toBe(0);
    const report = JSON.parse(answer.stdout);
    expect(report.results).toMatchObject([{ image: 'cat.png', class: 'cat' }]);
    expect(report.estimateMatches).toBe(true);
    expect(report).not.toHaveProperty('agreement');
    expect(infer('--program', '0'.repeat(64)).status).toBe(4);
    expect(infer().status).toBe(0);
    for (const { child } of [server, provider]) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGINT');
      expect(await ended).toBe(130);
    }
  });

  it('serves over TLS with a certificate of one’s own', async () => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
    });
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
    writeFileSync(files.cert, cert);
    writeFileSync(files.key, key);
    const tls = ['--listen', '127.0.0.1:0', '--cert', files.cert, '--key', files.key];
    const provider = await serving('provider', ...tls);
    const server = await serving('server', compiled, ...tls, '--provider', provider.listening, '--ca', files.cert);
    expect(server.listening).toMatch(/^wss:/);
    const addresses = ['--server', server.listening, '--provider', provider.listening];
    expect(json('infer', cat, ...addresses, '--ca', files.cert).results).toMatchObject([{ class: 'cat' }]);
    expect(tessera('infer', cat, ...addresses, '--json').status).toBe(4);
  });

  it('names the variants of securenn by what they do, and says what may go wrong', () => {
    const run = (...more: string[]) => tessera('run', model, cat, '--preprocess', preprocessing, '--suite', 'securenn', '--json', ...more);
    const beaver = run('--linear', 'beaver');
    expect(JSON.parse(beaver.stdout)).toMatchObject({ suite: 'securenn-beaver', agreement: 1, estimateMatches: true });
    expect(beaver.stderr).not.toContain('truncates');
    const exact = run('--truncation', 'exact', '--ring', '32');
    expect(JSON.parse(exact.stdout)).toMatchObject({ suite: 'securenn-exact', agreement: 1, estimateMatches: true });
    expect(exact.stderr).not.toContain('truncates');
    expect(run('--linear', 'beaver', '--truncation', 'exact').status).toBe(2);
    expect(tessera('run', model, cat, '--linear', 'beaver').status).toBe(2);
    const narrow = tessera('compile', model, '--suite', 'securenn', '--ring', '32', '-o', join(folder, 'narrow'));
    expect(narrow.stderr).toMatch(/fails for up to 4.,... values a picture.*securenn-exact/);
  });

  it('slows the links down as --network says', () => {
    const { offline, online } = json('run', compiled, cat, '--network', '1GB/s,20ms');
    for (const { rounds, seconds } of [offline, online]) expect(seconds).toBeGreaterThan(rounds * 0.01);
  });

  it('measures the network alone, and computing alone', () => {
    const dry = json('run', compiled, '--dry', '--parties', 'processes');
    const { suites } = json('estimate', compiled, '--suite', 'masked');
    expect(dry).toMatchObject({ dry: true, results: [], estimateMatches: true, inferences: 1 });
    expect(dry.online.links).toEqual(suites.masked.online.links);
    const infinite = json('run', compiled, cat, '--network', 'infinite');
    expect(infinite).toMatchObject({ parties: 'memory', estimateMatches: true, framing: 0 });
    expect(tessera('run', compiled, cat, '--network', 'infinite', '--parties', 'processes').status).toBe(2);
  });

  it('writes what each party did when, and how long it was idle', () => {
    const file = join(folder, 'trace.json');
    const { idle, online } = json('run', compiled, cat, '--parties', 'processes', '--trace', file);
    for (const party of ['client', 'server', 'provider']) {
      expect(idle[party]).toBeGreaterThan(0);
      expect(idle[party]).toBeLessThan(1);
    }
    expect(online.idle.provider).toBe(1);
    const { traceEvents } = JSON.parse(readFileSync(file, 'utf8'));
    expect(new Set(traceEvents.map((event: { pid: number }) => event.pid))).toEqual(new Set([1, 2, 3]));
  });

  it('evaluates in float, in fixed point and privately', () => {
    const labelled = join(folder, 'labelled.json');
    const settings = JSON.parse(readFileSync(preprocessing, 'utf8'));
    const labels = { 'cat.png': 3, 'horse.png': 7 };
    writeFileSync(labelled, JSON.stringify({ ...settings, images: join(root, 'models/pictures'), format: 'folder', labels }));
    for (const precision of ['float', 'fixed', 'secure']) {
      const report = json('evaluate', model, '--data', labelled, '--precision', precision);
      expect(report).toMatchObject({ images: 2, top1: 1, agreement: 1, precision });
      expect('clipped' in report).toBe(precision !== 'float');
    }
  });
});
