// A suite whose provider takes part online: any party killed, and any link cut, at every message of a two-layer network, online messages of
// the provider among them. Typed errors on the others, no hang, no leak, and the next client is served.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { placeText } from './network.js';
import { openTrials, small, type Trials } from './trials.js';

let trials: Trials;
beforeAll(async () => {
  trials = await openTrials({ provider: { idleSeconds: 20 } }, { ...small, suite: 'securenn' });
});
afterAll(() => trials.network.close());

describe('at every message of a two-layer network in securenn', () => {
  it('a party killed or a link cut ends in typed errors, and the next client is served', async () => {
    const places = await trials.places();
    const online = places.filter(({ own, peer, step }) => [own, peer].includes('provider') && step === 1);
    expect(online.length).toBeGreaterThan(8);
    const before = trials.used();
    const wrong: string[] = [];
    let failed = 0;
    for (const [i, place] of places.entries()) {
      const { own, peer } = place;
      const outcome = await trials.attempt(place, () => void (i % 2 ? trials.network.cut(own, peer) : trials.network.kill(own)));
      wrong.push(...outcome.wrong);
      if (outcome.client !== undefined) failed++;
      expect([placeText(place), trials.used()]).toEqual([placeText(place), before]);
    }
    expect(wrong).toEqual([]);
    expect(failed).toBeGreaterThan(0.9 * places.length);
  });

  it('an inference that was prepared and given up leaves nothing behind at the provider', async () => {
    const before = trials.used();
    const client = await trials.network.openClient({ suite: 'securenn' });
    const [kept, dropped] = [await client.prepare(), await client.prepare()];
    dropped.discard();
    const { outputs } = await kept.infer(small.picture);
    trials.check(outputs[0]!);
    await client.close();
    expect((await trials.network.ends()).filter((end) => end !== undefined)).toEqual([]);
    expect(trials.used()).toEqual(before);
  });
});
