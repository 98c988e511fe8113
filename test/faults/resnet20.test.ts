// As cuts.test.ts, for every message of ResNet-20: `npm run test:faults`. Takes minutes, so it is no part of `npm test`.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDataset } from '../../src/data/dataset.node.js';
import { seeded } from '../networks.js';
import { placeText } from './network.js';
import { openTrials, type Trials } from './trials.js';

const models = join(import.meta.dirname, '../../models');
const wanted = process.env.TESSERA_FAULTS === 'all' && existsSync(join(models, 'cifar10-resnet20.onnx'));
/** Trials come in random order until this is over: a slow machine tries some of the places, another run others. */
const limitSeconds = Number(process.env.TESSERA_FAULTS_SECONDS ?? 2100);

describe.skipIf(!wanted)('at every message of ResNet-20 (npm run test:faults)', () => {
  let trials: Trials;
  beforeAll(async () => {
    const dataset = await loadDataset(join(models, 'cifar10-resnet20.json'));
    const served = {
      onnx: new Uint8Array(readFileSync(join(models, 'cifar10-resnet20.onnx'))),
      picture: await dataset.read(0, 1),
      calibration: { images: await dataset.read(0, dataset.count), count: dataset.count, marginBits: 2 },
      slack: 0.2,
    };
    trials = await openTrials({}, served);
  });
  afterAll(() => trials?.network.close());

  it(
    'a link cut or a party killed ends in typed errors, without a hang or a leak, and the next client is served',
    async () => {
      const { network } = trials;
      const all = (await trials.places()).flatMap((place) => [
        { place, fault: () => network.cut(place.own, place.peer) },
        { place, fault: () => network.kill(place.own) },
      ]);
      const seed = Date.now();
      const next = seeded(seed);
      const before = trials.used();
      const wrong: string[] = [];
      const end = performance.now() + 1000 * limitSeconds;
      let done = 0;
      for (const left = [...all]; left.length > 0 && performance.now() < end; done++) {
        const [{ place, fault }] = left.splice(next() % left.length, 1) as [(typeof all)[number]];
        const outcome = await trials.attempt(place, () => void fault());
        wrong.push(...outcome.wrong);
        if (trials.used().join() !== before.join()) wrong.push(`${placeText(place)}: ${trials.used()} bytes in use, ${before} before`);
      }
      process.stderr.write(`${done} of ${all.length} faults tried, seed ${seed}\n`);
      expect(wrong).toEqual([]);
    },
    1000 * (limitSeconds + 300),
  );
});
