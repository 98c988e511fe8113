// Processes that are interrupted or killed: what they started ends too, and so do the sessions of the others.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Compute } from '../../src/kernel/compute.js';
import { createNodeCompute } from '../../src/kernel/pool.node.js';
import { twoLayers } from '../networks.js';
import { type Bench, built, openBench, openClient, type Party, type Prepared, prepare, writeArray } from './parties.js';

/** Finds children through /proc. */
const linux = process.platform === 'linux';

/** Processes whose parent is `pid`. */
function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid;
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Whether a process runs; one that has ended and that nobody has asked for yet does not. */
function alive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return false;
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 30_000; !condition(); ) {
    if (Date.now() > end) throw new Error(`${what} never came`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.skipIf(!built || !linux)('signals (after npm run build, on Linux)', () => {
  let compute: Compute;
  let bench: Bench;
  let model: Prepared;
  let picture: string;
  beforeAll(async () => {
    compute = await createNodeCompute({ inline: true });
    bench = openBench();
    model = await prepare(compute, join(bench.folder, 'model'), twoLayers());
    picture = join(bench.folder, 'pictures.npy');
    writeArray(picture, [500, 2, 4, 4], model.images(500, 5));
  });
  afterAll(async () => {
    bench.end();
    await compute.close();
  });

  /** What a run keeps for its server, weights included. */
  const models = (): string[] => readdirSync(bench.folder).filter((name) => name.startsWith('tessera-model-'));

  /** A run whose provider and server have started and that is answering pictures. */
  async function running(): Promise<Party & { readonly children: readonly number[] }> {
    // At 50 ms a round trip the pictures take minutes.
    const args = ['run', model.folder, '--data', picture, '--parties', 'processes', '--network', '1MB/s,50ms'];
    const party = bench.start(args, { group: true });
    await until(() => childrenOf(party.child.pid!).length === 3, 'the third process');
    return { ...party, children: childrenOf(party.child.pid!) };
  }

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends a run and its processes, with status %d', async (signal, status) => {
    const { child, exit, children } = await running();
    child.kill(signal);
    const end = await exit;
    expect(end.status, end.log).toBe(status);
    await until(() => !children.some(alive), 'the end of the processes it had started');
  });

  it('Ctrl-C on a terminal, which reaches all its processes, ends a run with status 130', async () => {
    const { child, exit, children } = await running();
    process.kill(-child.pid!, 'SIGINT');
    const { status, log } = await exit;
    expect(status, log).toBe(130);
    await until(() => !children.some(alive), 'the end of the processes it had started');
  });

  it('a run that is killed leaves no processes behind', async () => {
    const { child, exit, children } = await running();
    await until(() => models().length === 0, 'the end of the model that the server has read');
    child.kill('SIGKILL');
    expect((await exit).signal).toBe('SIGKILL');
    expect(models()).toEqual([]);
    await until(() => !children.some(alive), 'the end of the processes it had started');
  });

  it('a run whose server or provider is killed ends with status 4', async () => {
    for (const which of [0, 1]) {
      const { exit, children } = await running();
      process.kill(children[which]!, 'SIGKILL');
      const { status, log } = await exit;
      expect([status, log.split('\n').length]).toEqual([4, expect.any(Number)]);
      expect(log).toMatch(/tessera: /);
      await until(() => !children.some(alive), 'the end of the other process');
    }
  });

  it('Ctrl-C ends a server and a provider in the middle of a session with status 130, and their clients with a reason', async () => {
    for (const which of ['provider', 'server'] as const) {
      const provider = await bench.listening(['provider']);
      const server = await bench.listening(['server', model.folder, '--provider', provider.url]);
      const client = await openClient(compute, { server: server.url, provider: provider.url });
      const prepared = await client.prepare();
      const party = which === 'server' ? server : provider;
      party.child.kill('SIGINT');
      expect((await party.exit).status).toBe(130);
      await expect(prepared.infer(model.images(1))).rejects.toMatchObject({ exitStatus: 4 });
      await client.close();
      const other = which === 'server' ? provider : server;
      other.child.kill('SIGKILL');
    }
  });

  it('a party killed in the middle of a session ends the others with status 4, and those that live serve the next client', async () => {
    const provider = await bench.listening(['provider']);
    let server = await bench.listening(['server', model.folder, '--provider', provider.url]);
    const picturesOf = () => ['--server', server.url, '--provider', provider.url, '--data', picture, '--json'];
    const one = async () => {
      const { status, output, log } = await bench.start(['infer', ...picturesOf(), '--limit', '1']).exit;
      expect(status, output + log).toBe(0);
    };
    const busy = async (): Promise<Party> => {
      const before = server.log().length;
      const party = bench.start(['infer', ...picturesOf()]);
      await until(() => server.log().slice(before).includes('answered'), 'an answer');
      return party;
    };
    const killedClient = await busy();
    killedClient.child.kill('SIGKILL');
    await killedClient.exit;
    await one();

    const served = await busy();
    server.child.kill('SIGKILL');
    const end = await served.exit;
    expect([end.status, JSON.parse(end.output).error.code]).toEqual([4, expect.stringMatching(/^peer-/)]);
    server = await bench.listening(['server', model.folder, '--provider', provider.url]);
    await one();

    const last = await busy();
    const port = new URL(provider.url).port;
    provider.child.kill('SIGKILL');
    expect((await last.exit).status).toBe(4);
    await provider.exit;
    // The server lives on: with a provider at the old address it serves again.
    const again = bench.start(['provider', '--listen', `127.0.0.1:${port}`, '--json']);
    await until(() => again.output().includes('listening'), 'the new provider');
    await one();
    expect(server.child.exitCode).toBe(null);
  });
});
