// Work that takes turns: parts of a step that go on beside each other compute one at a time, so that the first to be ready sends first.

export interface Turn {
  /** Lets others go on until what a part awaits is there, and it is that part's turn again. Rejects when it, or another part, fails. */
  whileWaiting<T>(awaited: Promise<T>): Promise<T>;
  /**
   * Runs parts, each begun in its turn. Rejects with the first failure, but not before every part has ended: none touches what its caller gives
   * up then.
   */
  all(parts: readonly (() => Promise<void>)[]): Promise<void>;
}

/** @param rest Called when every part waits; what it returns, when one goes on. */
export function createTurn(rest: () => () => void = () => () => undefined): Turn {
  const queue: (() => void)[] = [];
  let busy = false;
  let open = 0;
  let resume: (() => void) | undefined;
  let failure: { readonly reason: unknown } | undefined;
  let fail: (reason: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);

  const take = async (): Promise<void> => {
    if (busy) await new Promise<void>((resolve) => queue.push(resolve));
    busy = true;
    resume?.();
    resume = undefined;
  };
  const pass = (): void => {
    busy = false;
    const next = queue.shift();
    if (next !== undefined) {
      busy = true;
      next();
    } else if (open > 0) resume = rest();
  };

  return {
    async whileWaiting(awaited) {
      pass();
      try {
        return await Promise.race([awaited, failed]);
      } finally {
        await take();
      }
    },
    async all(parts) {
      open = parts.length;
      await Promise.allSettled(
        parts.map(async (part) => {
          await take();
          try {
            if (failure === undefined) await part();
          } catch (reason) {
            failure ??= { reason };
            fail(reason);
          } finally {
            open--;
            pass();
          }
        }),
      );
      if (failure !== undefined) throw failure.reason;
    },
  };
}
