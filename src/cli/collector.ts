// How often a party's process collects garbage. Not here: what it allocates.
import { setFlagsFromString } from 'node:v8';

/**
 * Lets the garbage of a party grow to seven times what it keeps before it is collected. Node counts the memory of messages that arrive as
 * garbage to come: with some 9 MB kept it collected for every 16 MB received, 25 times an inference of ResNet-50, which was a sixth of all
 * parties' processor time. The most memory a party had grew by 0 to 25 MB.
 */
export function collectRarely(): void {
  setFlagsFromString('--heap-growing-percent=700');
}
