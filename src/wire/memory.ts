// A channel inside one process: two ends that hand each other frames.
import type { Channel } from './channel.js';
import { createEndpoint, type Endpoint, type Transport } from './endpoint.js';
import { type ChannelLimits, withDefaults } from './limits.js';

/**
 * Two ends of a channel in memory, metered and limited like any other. What one sends is at the other at once; there is no queue in between,
 * so `drained` resolves at once too.
 */
export function memoryChannelPair(limits?: Partial<ChannelLimits>): [Channel, Channel] {
  const full = withDefaults(limits);
  const towards = (peer: () => Endpoint): Transport => ({
    write: (frame) => peer().deliver(frame),
    drained: () => Promise.resolve(),
    end: (farewell) => peer().peerLeft(farewell),
    framingBytes: () => 0,
  });
  const first: Endpoint = createEndpoint(
    towards(() => second),
    full,
  );
  const second: Endpoint = createEndpoint(
    towards(() => first),
    full,
  );
  return [first.channel, second.channel];
}
