import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StoredModel } from '../cli/model-folder.js';
import { sampleModel } from '../cli/sample-model.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { openLocalSession } from './local.js';
import { fileStores } from './material.node.js';

/** Enough pictures that the sample's layers of 64 channels are cut into pieces (masked/pieces.ts). */
const batch = 16;

const bytes = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) % 251);

describe('material', () => {
  let compute: Compute;
  let folder: string;
  beforeAll(async () => {
    compute = await createNodeCompute({ inline: true });
    folder = mkdtempSync(join(tmpdir(), 'tessera-test-'));
  });
  afterAll(async () => {
    await compute.close();
    rmSync(folder, { recursive: true });
  });

  it('comes back from a file that has no name, whatever the order', async () => {
    const store = fileStores(folder)();
    const messages = [bytes(5, 1), bytes(0, 2), bytes(300_000, 3)];
    const take = await Promise.all(messages.map((message) => store.put(message)));
    expect(readdirSync(folder)).toEqual([]);
    for (const i of [2, 0, 1]) expect(await take[i]!()).toEqual(messages[i]);
    store.end();
  });

  it('that a process left which died in between is removed by the next', async () => {
    const own = mkdtempSync(join(folder, 'left-'));
    // No process has this number: it is above the largest there is.
    writeFileSync(join(own, 'tessera-material-4194305-00'), 'x');
    writeFileSync(join(own, `tessera-material-${process.ppid}-00`), 'of one that lives');
    const store = fileStores(own)();
    await (await store.put(bytes(1, 1)))();
    while (readdirSync(own).length > 1) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(readdirSync(own)).toEqual([`tessera-material-${process.ppid}-00`]);
    store.end();
    rmSync(own, { recursive: true });
  });

  it('that cannot be stored ends the session with a word on what to do', async () => {
    const store = fileStores(join(folder, 'none'))();
    await expect(store.put(bytes(1, 1))).rejects.toMatchObject({ code: 'no-room-for-material', hint: expect.stringContaining('TMPDIR') });
  });

  /** Weights are whole numbers, so that an answer is off only by what truncation rounds. */
  async function weighted(): Promise<StoredModel['compiled']> {
    const { compiled } = await sampleModel(32);
    for (const { weights, bias } of compiled.weights.layers) {
      for (let i = 0; i < weights.length; i++) (weights as Int32Array)[i] = ((i * 7919) % 41) - 20;
      for (let i = 0; i < bias.length; i++) (bias as Int32Array)[i] = 4096 * ((i % 7) - 1);
    }
    return compiled;
  }

  it('that is put aside, or drawn anew, gives the answers of material that is kept', async () => {
    const { program, weights } = await weighted();
    let stored = 0;
    const files = fileStores(folder);
    const openStore = () => {
      const store = files();
      const put = (message: Uint8Array) => {
        stored += message.length;
        return store.put(message);
      };
      return { ...store, put };
    };
    const images = Float32Array.from({ length: batch * 16 * 16 * 16 }, (_, i) => ((i * 31) % 200) - 100);
    const answers: Float32Array[][] = [];
    const sent: number[] = [];
    for (const readyBytes of [2 ** 28, 100_000, 0]) {
      const before = compute.memory.usedBytes;
      const session = await openLocalSession({ compute, program, weights, readyBytes, openStore });
      const prepared = await session.client.prepare(batch);
      const { outputs } = await prepared.infer(images);
      await (await session.client.prepare(1)).discard();
      await session.close();
      answers.push([...outputs]);
      sent.push(stored);
      expect(compute.memory.usedBytes).toBe(before);
    }
    expect(sent[0]).toBe(0);
    expect(sent[1]).toBeGreaterThan(0);
    expect(sent[2]! - sent[1]!).toBeGreaterThan(sent[1]!);
    const scale = Math.max(...answers[0]!.flatMap((row) => [...row].map(Math.abs)));
    expect(scale).toBeGreaterThan(100);
    for (const other of answers.slice(1)) {
      for (const [image, row] of other.entries())
        for (const [i, value] of row.entries()) expect(Math.abs(value - answers[0]![image]![i]!)).toBeLessThan(0.02 * scale);
    }
  });
});
