// A party that sends the wrong thing, or nothing, at every message of a two-layer network: the others end with a typed error.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PeerError } from '../../src/errors.js';
import { setupNames } from '../../src/party/setup.js';
import { controlNames } from '../../src/protocol/control.js';
import { messageNames } from '../../src/protocol/messages.js';
import { type Fault, type Place, placeText } from './network.js';
import { openTrials, type Trials } from './trials.js';

const patience = (waitSeconds: number) =>
  openTrials({ limits: { waitSeconds }, server: { idleSeconds: waitSeconds }, provider: { idleSeconds: waitSeconds } });
let trials: Trials;
beforeAll(async () => {
  trials = await patience(10);
});
afterAll(() => trials.network.close());

/**
 * Does a fault at every message that is sent, and returns what was not as it should be.
 * @param codes One of them has to be named by somebody.
 * @param harmless Messages that a fault leaves as good as they were.
 */
async function everywhere(fault: Fault, codes: readonly string[], harmless: readonly number[] = []): Promise<string[]> {
  const wrong: string[] = [];
  for (const place of await sentOf(trials)) wrong.push(...(await at(trials, place, fault, codes, harmless)));
  return wrong;
}

const sentOf = async (on: Trials): Promise<Place[]> => (await on.places()).filter((place) => place.does === 'send');

async function at(
  on: Trials,
  place: Place,
  fault: Fault,
  codes: readonly string[],
  harmless: readonly number[] = [],
): Promise<readonly string[]> {
  const before = on.used();
  const outcome = await on.attempt(place, fault);
  const wrong = [...outcome.wrong];
  const texts = [outcome.client, ...outcome.others].map((end) =>
    end === undefined ? 'in order' : `${(end as PeerError).code}: ${end.message}`,
  );
  const found = outcome.client !== undefined && codes.some((code) => texts.some((text) => text.includes(code)));
  if (!found && !harmless.includes(place.name)) wrong.push(`${placeText(place)}: ${texts}`);
  if (on.used().join() !== before.join()) wrong.push(`${placeText(place)}: ${on.used()} bytes in use, ${before} before`);
  return wrong;
}

describe('at every message of a two-layer network', () => {
  it('a byte too many is found', async () => {
    const longer: Fault = (message) => {
      message.payload = new Uint8Array([...message.payload, 0]);
      return undefined;
    };
    expect(await everywhere(longer, ['peer-oversized', 'wrong-size', 'bad-hello'], [setupNames.program])).toEqual([]);
  });

  it('a byte too few is found', async () => {
    const shorter: Fault = (message) => {
      message.payload = message.payload.slice(0, -1);
      return undefined;
    };
    expect(await everywhere(shorter, ['wrong-size', 'bad-hello', 'wrong-program'], [controlNames.ready])).toEqual([]);
  });

  it('a message sent twice is found', async () => {
    const twice: Fault = (message) => {
      message.also(message.label, message.payload);
      return undefined;
    };
    expect(await everywhere(twice, ['peer-repeated'], [messageNames.output])).toEqual([]);
  });

  it('a clock that runs out of its range is found', async () => {
    const late: Fault = (message) => {
      message.depth = 65_535;
      return undefined;
    };
    expect(await everywhere(late, ['peer-garbage'], [messageNames.output])).toEqual([]);
  });

  it('a peer that falls silent is given up after the waiting limit', async () => {
    const silent: Fault = () => false;
    const hurried = await patience(0.4);
    const wrong: string[] = [];
    for (const place of await sentOf(hurried)) {
      // On a busy machine a limit this short may also run out in a session without a fault: what is wrong for a reason is wrong three times.
      let found: readonly string[] = [];
      for (let attempt = 0; attempt < 3 && (attempt === 0 || found.length > 0); attempt++)
        found = await at(hurried, place, silent, ['peer-silent', 'timeout']);
      wrong.push(...found);
    }
    await hurried.network.close();
    expect(wrong).toEqual([]);
  });
});
