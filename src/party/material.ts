// Material between the offline and the online phase: what a party keeps ready in memory, and what it puts aside until its step comes. Not here:
// files (material.node.ts).
import type { Step } from '../model/program.js';
import type { Operation, Role, StepContext } from '../protocol/operation.js';

/** Keeps bytes outside this process's memory. Each is taken once. */
export interface MaterialStore {
  /** Resolves when the bytes need no memory any more, with the way to get them back. */
  put(bytes: Uint8Array): Promise<() => Promise<Uint8Array>>;
  /** Gives up what is left. */
  end(): void;
}

/** Where a session's material goes. */
export interface MaterialRoom {
  /** Whether so many bytes may be kept in memory; they count until they are released. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
  /** A store for one inference; absent where there is none, and all material stays in memory. */
  readonly openStore?: (() => MaterialStore) | undefined;
}

/** Material of a session that is kept ready in memory by default, in bytes: two thirds of ResNet-50's at 224 × 224. */
export const defaultReadyBytes = 2 ** 28;

export function createRoom(limitBytes = defaultReadyBytes, openStore?: () => MaterialStore): MaterialRoom {
  let used = 0;
  return {
    reserve(bytes) {
      if (used + bytes > limitBytes) return false;
      used += bytes;
      return true;
    },
    release(bytes) {
      used -= bytes;
    },
    openStore,
  };
}

type AnyOperation = Operation<Step, unknown, unknown, unknown>;

/** The steps of one inference whose offline part only takes messages, which are put aside where there is no room for what it makes of them. */
export interface PutAside {
  /** Whether so many bytes of a step may stay in memory until the step is over. */
  reserve(index: number, bytes: number): boolean;
  /** Puts the messages of a step's offline part aside, unless there is room to do that part now: then false. */
  takes(index: number, step: Step, operation: AnyOperation, context: StepContext): Promise<boolean>;
  /** What the offline part of a step that was put aside makes; undefined for other steps. Has the next such step's made meanwhile. */
  material(index: number): Promise<unknown> | undefined;
  /** To be called when a step is over. */
  over(index: number): void;
  /** When nothing is being made any more. */
  settled(): Promise<unknown>;
  end(): void;
}

/** @param contextOf the context of a step's offline part, whenever that is done. */
export function createPutAside(room: MaterialRoom, role: Role, contextOf: (index: number) => StepContext): PutAside {
  const reserved = new Map<number, number>();
  const aside = new Map<number, () => Promise<unknown>>();
  const made = new Map<number, Promise<unknown>>();
  let store: MaterialStore | undefined;
  /** The step whose material is made before it is asked for. */
  let ahead: number | undefined;

  const make = (index: number): Promise<unknown> | undefined => {
    const later = aside.get(index);
    if (later === undefined) return made.get(index);
    aside.delete(index);
    const material = later();
    // Awaited when its step comes.
    material.catch(() => {});
    made.set(index, material);
    return material;
  };
  const reserve = (index: number, bytes: number): boolean => {
    if (!room.reserve(bytes)) return false;
    reserved.set(index, (reserved.get(index) ?? 0) + bytes);
    return true;
  };

  return {
    reserve,
    async takes(index, step, operation, context) {
      if (!operation[role].putsOff || room.openStore === undefined) return false;
      const incoming = operation.messages(step, context).filter((m) => m.phase === 'offline' && m.link.endsWith(`>${role}`));
      const bytes = incoming.reduce((sum, message) => sum + message.bytes, 0);
      if (incoming.length === 0 || reserve(index, bytes)) return false;
      store ??= room.openStore();
      const messages = new Map<string, () => Promise<Uint8Array>>();
      for (const { link, name, bytes } of incoming) {
        const from = link.slice(0, link.indexOf('>')) as Role;
        messages.set(`${from} ${name}`, await store.put(await context.receive(from, name, bytes)));
      }
      const receive: StepContext['receive'] = (from, name) => messages.get(`${from} ${name}`)!();
      const receiving = (outer: StepContext): StepContext => ({
        ...outer,
        receive,
        branch: (after, quiet) => receiving(outer.branch(after, quiet)),
      });
      aside.set(index, () => operation[role].offline(receiving(contextOf(index)), step));
      return true;
    },
    material(index) {
      const material = make(index);
      if (ahead === index) ahead = undefined;
      // One step ahead, so that it is there when the step comes; no more, as branches of a network begin together.
      if (ahead === undefined) {
        ahead = [...aside.keys()].find((next) => next > index);
        if (ahead !== undefined) make(ahead);
      }
      return material;
    },
    over(index) {
      made.delete(index);
      room.release(reserved.get(index) ?? 0);
      reserved.delete(index);
    },
    settled: () => Promise.allSettled(made.values()),
    end() {
      for (const bytes of reserved.values()) room.release(bytes);
      reserved.clear();
      aside.clear();
      store?.end();
    },
  };
}
