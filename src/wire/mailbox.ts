// Label -> who waits for it, or what has arrived: the book that every transport keeps. Not here: bytes on a wire.
import type { PeerError } from '../errors.js';
import type { Label } from './channel.js';
import { flooded, labelText, oversized, repeated, silent } from './failures.js';
import type { ChannelLimits } from './limits.js';

export interface Received {
  readonly payload: Uint8Array;
  readonly depth: number;
}

export interface ReceiveOptions {
  readonly maxBytes?: number;
  readonly waitSeconds?: number;
}

export interface Mailbox {
  /** Files a message. Throws PeerError when it breaks a rule; the caller then ends the link. */
  deliver(label: Label, payload: Uint8Array, depth: number): void;
  receive(label: Label, options?: ReceiveOptions): Promise<Received>;
  /** Every waiting and later receive rejects with `error`; with `keepArrived`, what has arrived can still be taken. */
  end(error: PeerError, keepArrived: boolean): void;
  readonly queuedBytes: number;
}

type Slot =
  | { readonly kind: 'arrived'; readonly message: Received }
  | {
      readonly kind: 'waiting';
      readonly maxBytes: number;
      readonly timer: ReturnType<typeof setTimeout> | undefined;
      readonly resolve: (message: Received) => void;
      readonly reject: (error: PeerError) => void;
    }
  | { readonly kind: 'taken' };

const taken: Slot = { kind: 'taken' };

/** What a queued message costs beside its payload (maps, objects), so that a flood of empty messages is bounded too. */
const slotBytes = 256;

/** Labels of past messages that are kept to recognise a repeat; about 6 MB. The inference quiet for longest is forgotten first. */
const rememberedLabels = 65_536;

/** setTimeout's own ceiling, 24 days. */
const longestTimer = 2 ** 31 - 1;

/** Where so many bytes wait for somebody to ask for them, and nobody waits for others, the peer is held back. */
const highQueueBytes = 32 << 20;

/**
 * @param fail Called when a receive has waited too long; it is to end the link, and with it this mailbox.
 * @param hold Called with true when the transport is to stop reading, and with false when it is to go on.
 */
export function createMailbox(
  limits: ChannelLimits,
  fail: (error: PeerError) => void,
  hold: (stop: boolean) => void = () => undefined,
): Mailbox {
  // Ordered by last use. The slots of one inference are keyed by step and name together.
  const inferences = new Map<number, Map<number, Slot>>();
  let queuedBytes = 0;
  let slotCount = 0;
  let ended: PeerError | undefined;
  let keepsArrived = false;
  let waiting = 0;
  let held = false;

  /** What is waited for may be behind what fills the queue: somebody who waits is never held back. */
  const regulate = (): void => {
    const stop = queuedBytes > highQueueBytes && waiting === 0 && ended === undefined;
    if (stop !== held) hold(stop);
    held = stop;
  };

  const slotsOf = (inference: number): Map<number, Slot> => {
    const slots = inferences.get(inference) ?? new Map<number, Slot>();
    inferences.delete(inference);
    inferences.set(inference, slots);
    return slots;
  };

  const put = (slots: Map<number, Slot>, key: number, slot: Slot): void => {
    if (!slots.has(key)) slotCount += 1;
    slots.set(key, slot);
    if (slotCount > rememberedLabels) forgetOldest();
  };

  const forgetOldest = (): void => {
    for (const [inference, slots] of inferences) {
      for (const [key, slot] of slots) {
        if (slot.kind === 'taken') {
          slots.delete(key);
          slotCount -= 1;
        }
      }
      if (slots.size === 0) inferences.delete(inference);
      if (slotCount <= rememberedLabels / 2) return;
    }
  };

  return {
    get queuedBytes() {
      return queuedBytes;
    },

    deliver(label, payload, depth) {
      if (ended !== undefined) return;
      const slots = slotsOf(label.inference);
      const key = keyOf(label);
      const slot = slots.get(key);
      if (slot === undefined) {
        queuedBytes += payload.length + slotBytes;
        if (queuedBytes > limits.maxQueuedBytes) throw flooded(queuedBytes, limits.maxQueuedBytes);
        put(slots, key, { kind: 'arrived', message: { payload, depth } });
        regulate();
      } else if (slot.kind === 'waiting') {
        if (payload.length > slot.maxBytes) throw oversized(payload.length, slot.maxBytes, labelText(label));
        clearTimeout(slot.timer);
        put(slots, key, taken);
        waiting -= 1;
        regulate();
        slot.resolve({ payload, depth });
      } else {
        throw repeated(label);
      }
    },

    receive(label, options = {}) {
      const maxBytes = options.maxBytes ?? limits.maxFrameBytes;
      const slots = slotsOf(label.inference);
      const key = keyOf(label);
      const slot = slots.get(key);
      if (slot?.kind === 'arrived' && (ended === undefined || keepsArrived)) {
        const { message } = slot;
        queuedBytes -= message.payload.length + slotBytes;
        put(slots, key, taken);
        regulate();
        if (message.payload.length <= maxBytes) return Promise.resolve(message);
        fail(oversized(message.payload.length, maxBytes, labelText(label)));
      }
      if (ended !== undefined) return handled(Promise.reject(ended));
      if (slot !== undefined) return handled(Promise.reject(new Error(`${labelText(label)} was asked for twice`)));
      const waitSeconds = options.waitSeconds ?? limits.waitSeconds;
      return handled(
        new Promise((resolve, reject) => {
          const expire = () => fail(silent(label, waitSeconds));
          const timer = waitSeconds === Infinity ? undefined : setTimeout(expire, Math.min(waitSeconds * 1000, longestTimer));
          put(slots, key, { kind: 'waiting', maxBytes, timer, resolve, reject });
          waiting += 1;
          regulate();
        }),
      );
    },

    end(error, keepArrived) {
      if (ended !== undefined) return;
      ended = error;
      keepsArrived = keepArrived;
      regulate();
      for (const slots of inferences.values()) {
        for (const slot of slots.values()) {
          if (slot.kind !== 'waiting') continue;
          clearTimeout(slot.timer);
          slot.reject(error);
        }
      }
      if (!keepArrived) {
        inferences.clear();
        queuedBytes = 0;
      }
    },
  };
}

function keyOf(label: Label): number {
  return label.step * 2 ** 16 + label.name;
}

/** A receive that is started early and awaited late must not end the process when the link fails in between. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
