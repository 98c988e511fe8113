// What pieces of a step rely on: one computes at a time, those that wait let others go on, and a failure ends all of them before it is told.
import { describe, expect, it } from 'vitest';
import { createTurn } from './turn.js';

/** A message that arrives when `come` is called. */
function message(): { readonly awaited: Promise<string>; come(text: string): void; lose(reason: Error): void } {
  let come: (text: string) => void = () => undefined;
  let lose: (reason: Error) => void = () => undefined;
  const awaited = new Promise<string>((resolve, reject) => {
    come = resolve;
    lose = reject;
  });
  return { awaited, come, lose };
}

const later = () => new Promise((resolve) => setTimeout(resolve, 1));

describe('a turn', () => {
  it('lets one part compute at a time, and others while it waits', async () => {
    const turn = createTurn();
    const messages = [message(), message()];
    const log: string[] = [];
    let computing = 0;
    const compute = async (what: string) => {
      expect(computing++).toBe(0);
      log.push(what);
      await later();
      computing--;
    };
    const ended = turn.all(
      messages.map(({ awaited }, i) => async () => {
        await compute(`${i} begins`);
        log.push(await turn.whileWaiting(awaited));
        await compute(`${i} ends`);
        if (i === 1) messages[0]!.come('first');
      }),
    );
    messages[1]!.come('second');
    await ended;
    expect(log).toEqual(['0 begins', '1 begins', 'second', '1 ends', 'first', '0 ends']);
  });

  it('says when every part waits, and no longer than that', async () => {
    const rests: [number, number][] = [];
    const turn = createTurn(() => {
      const start = performance.now();
      return () => rests.push([start, performance.now()]);
    });
    const messages = [message(), message()];
    const spin = () => {
      for (const until = performance.now() + 5; performance.now() < until; );
    };
    const start = performance.now();
    const ended = turn.all(
      messages.map(({ awaited }, i) => async () => {
        spin();
        await turn.whileWaiting(awaited);
        spin();
        if (i === 0) setTimeout(() => messages[1]!.come(''), 40);
      }),
    );
    setTimeout(() => messages[0]!.come(''), 40);
    await ended;
    const whole = performance.now() - start;
    const rested = rests.reduce((sum, [from, to]) => sum + to - from, 0);
    expect(rests.length).toBe(2);
    expect(rested).toBeGreaterThan(0);
    expect(rested).toBeLessThanOrEqual(whole - 20 + 0.1);
  });

  it('tells the first failure after every part has ended, those too that would wait for ever', async () => {
    const turn = createTurn();
    const [lost, never] = [message(), message()];
    let open = 3;
    const part = (awaited: Promise<string>) => async () => {
      try {
        await turn.whileWaiting(awaited);
      } finally {
        await later();
        open--;
      }
    };
    const ended = turn.all([part(never.awaited), part(lost.awaited), part(never.awaited)]);
    lost.lose(new Error('the peer has left'));
    await expect(ended).rejects.toThrow('the peer has left');
    expect(open).toBe(0);
  });
});
