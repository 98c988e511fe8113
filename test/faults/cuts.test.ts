// Any party killed and any link cut at every message of a two-layer network: typed errors on the others, no hang, no leak, and server and
// provider go on serving. ResNet-20's messages: resnet20.test.ts.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { placeText } from './network.js';
import { openTrials, type Trials } from './trials.js';

let trials: Trials;
beforeAll(async () => {
  trials = await openTrials();
});
afterAll(() => trials.network.close());

/** The message is not sent, and what was sent before it has arrived when the party dies. */
function later(act: () => void): false {
  setTimeout(act, 3);
  return false;
}

describe('at every message of a two-layer network', () => {
  it('a link cut or a party killed ends in typed errors, without a hang or a leak, and the next client is served', async () => {
    const places = await trials.places();
    expect(places.length).toBeGreaterThan(40);
    const before = trials.used();
    const wrong: string[] = [];
    let failed = 0;
    for (const place of places) {
      const { own, peer, does } = place;
      for (const fault of [
        () => trials.network.cut(own, peer),
        () => (does === 'send' ? later(() => trials.network.kill(own)) : trials.network.kill(own)),
      ]) {
        const outcome = await trials.attempt(place, () => fault() as false | undefined);
        wrong.push(...outcome.wrong);
        if (outcome.client !== undefined) failed++;
      }
      expect([placeText(place), trials.used()]).toEqual([placeText(place), before]);
    }
    expect(wrong).toEqual([]);
    // A provider that dies when it has dealt need not stop the answer.
    expect(failed).toBeGreaterThan(1.8 * places.length);
  });
});
