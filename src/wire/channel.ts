// What a party sees of a link: labelled messages, out of order, metered, with hard limits. Not here: sockets.

/** Names a message. `name` is a code the protocol defines; `depth` is the sender's logical clock: rounds are counted from it. */
export interface Label {
  readonly inference: number;
  readonly step: number;
  readonly name: number;
}

export type Phase = 'setup' | 'offline' | 'online';

/** Bytes a label takes on the wire: inference u32, step u16, name u16, depth u16, phase u8, reserved u8; little endian. */
export const labelBytes = 12;

/**
 * A connection to one other party. Sending returns at once; receiving awaits a label, and messages may be awaited in any order.
 * When the peer vanishes, breaks a limit or sends what nobody can read, every pending and later receive rejects with the same PeerError.
 */
export interface Channel {
  /** Hands a copy of a message over: the payload may be reused at once. `phase` and `depth` are for the meter. */
  send(label: Label, payload: Uint8Array, phase: Phase, depth: number): void;
  /**
   * The message with that label, once. Rejects with PeerError when the channel ends; ends it when the message is longer than `maxBytes` or does
   * not come within `waitSeconds` (the channel's limit by default; Infinity for a link that may rest). What arrived before the peer closed
   * without a reason can still be received.
   */
  receive(
    label: Label,
    options?: { readonly maxBytes?: number; readonly waitSeconds?: number },
  ): Promise<{ readonly payload: Uint8Array; readonly depth: number }>;
  /** Resolves when all that was sent has been handed to the transport and its queue is below its mark. Rejects when the peer is gone. */
  drained(): Promise<void>;
  /** Ends the link. The peer's receives reject with a PeerError that carries the reason. */
  close(reason?: string): void;
  /** Resolves once, when the channel has ended: with the reason, or with undefined when either side closed it without one. */
  readonly ended: Promise<Error | undefined>;
  readonly sent: Readonly<Record<Phase, { bytes: number; messages: number }>>;
  readonly received: Readonly<Record<Phase, { bytes: number; messages: number }>>;
  /** Bytes of transport framing sent (WebSocket headers), where the transport can tell. */
  readonly framingBytes: number;
}
