// Addresses of parties: ws:// and wss:// URLs. Not here: how they are connected to.
import { UsageError } from '../errors.js';

/** Reads the URL of a party. Throws UsageError when it is not a ws:// or wss:// address. */
export function parseAddress(url: string): URL {
  const hint = 'Give it as ws://HOST:PORT, or wss://HOST:PORT for TLS.';
  let address: URL;
  try {
    address = new URL(url);
  } catch (cause) {
    throw new UsageError(`"${url}" is not an address`, { code: 'bad-address', hint, cause });
  }
  if (address.protocol !== 'ws:' && address.protocol !== 'wss:') {
    throw new UsageError(`"${url}" is not a WebSocket address`, { code: 'bad-address', hint });
  }
  if (address.hash !== '')
    throw new UsageError(`"${url}" has a fragment (#), which no address of a party has`, { code: 'bad-address', hint });
  return address;
}
