// Both suites name the pictures of CIFAR-10 alike, and as the float network does: ten of them, and with TESSERA_AGREEMENT=1000 (npm run test:agreement) so many, then also
// with 12 % of ResNet-20's comparisons. `tessera bench suites-agreement` prints the numbers. Skipped where ../shared/data is absent.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openNetwork, type TrainedNetwork } from '../bench/_distortions.js';
import { agreements, variants } from '../bench/_suites-agreement.js';
import type { Compute } from '../src/kernel/compute.js';
import { createNodeCompute } from '../src/kernel/pool.node.js';

const asked = process.env.TESSERA_AGREEMENT;
const pictures = Number(asked ?? 10);
const batch = 10;
const patience = 3_600_000;
const shared = existsSync(fileURLToPath(new URL('../../shared/data', import.meta.url)));

describe.skipIf(!shared)('labels of ResNet-20 in both suites', () => {
  let compute: Compute;
  let network: TrainedNetwork;
  beforeAll(async () => {
    compute = await createNodeCompute({ threads: 2 });
    network = (await openNetwork('resnet20'))!;
  });
  afterAll(() => compute.close());

  const compare = async (variant: Parameters<typeof agreements>[2], settings: Parameters<typeof agreements>[3]) => {
    const rows = await agreements(compute, network, variant, settings, pictures, batch);
    // Where two suites differ, float is near a tie too.
    for (const row of rows) {
      expect(row.asFirst, `${row.suite} beside ${rows[0]!.suite}`).toBeGreaterThanOrEqual(0.995);
      expect(row.widestMargin).toBeLessThanOrEqual(4);
    }
    return rows;
  };

  it(
    'are the same with all comparisons, and those of float',
    async () => {
      const settings = [
        { suite: 'masked', ringBits: 32 },
        { suite: 'securenn', ringBits: 64 },
      ];
      const rows = await compare({ name: 'all signs', graph: network.graph }, settings);
      expect(rows[1]!.asFloat).toBeGreaterThanOrEqual(0.998);
      expect(rows[1]!.failed).toBe(0);
    },
    patience,
  );

  it.skipIf(asked === undefined)(
    'are the same with 12 % of the comparisons, in 64 bits without failures of truncation',
    async () => {
      const settings = [
        { suite: 'masked', ringBits: 64 },
        { suite: 'securenn-exact', ringBits: 64 },
      ];
      for (const variant of (await variants(compute, network, 0.12)).slice(1)) await compare(variant, settings);
    },
    patience,
  );
});
