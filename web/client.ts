// The client role for a page: a compute of its own, links to server and provider, and the session over them. Vite bundles this file.
import { type BrowserComputeOptions, createBrowserCompute } from '../src/kernel/pool.browser.js';
import { type ClientSession, openClientSession } from '../src/party/client.js';
import { type BrowserConnectOptions, connect } from '../src/wire/websocket.browser.js';

export interface PageSessionOptions extends BrowserComputeOptions, BrowserConnectOptions {
  /** Where the model owner listens, ws://… or wss://… */
  readonly server: string;
  /** Where the helper party listens. */
  readonly provider: string;
  /** Hash the program must have; see {@link openClientSession}. */
  readonly pinnedHash?: string;
}

export interface PageSession extends ClientSession {
  /** Threads that compute: 1 where the page is not cross-origin isolated. */
  readonly threads: number;
}

/**
 * Opens a session from a page or a worker. Rejects with PeerError when a party cannot be reached or does not keep to the protocol, with
 * UsageError where the page has no WebCrypto. Closing the session ends its threads.
 *
 * @example
 * const session = await openSession({ server: 'wss://model.example:7001', provider: 'wss://helper.example:7002' });
 * const { outputs } = await session.infer(pixels);
 * await session.close();
 */
export async function openSession(options: PageSessionOptions): Promise<PageSession> {
  const compute = await createBrowserCompute(options);
  try {
    const [server, provider] = await connectBoth(options);
    const { pinnedHash } = options;
    const session = await openClientSession({ compute, server, provider, ...(pinnedHash === undefined ? {} : { pinnedHash }) });
    const close = async (): Promise<void> => {
      await session.close();
      await compute.close();
    };
    return { ...session, threads: compute.threads, close };
  } catch (error) {
    await compute.close();
    throw error;
  }
}

/** Both links at once; when one fails, the other is closed. */
async function connectBoth(options: PageSessionOptions) {
  const links = [connect(options.server, options), connect(options.provider, options)] as const;
  try {
    return await Promise.all(links);
  } catch (error) {
    for (const link of links) {
      link.then(
        (channel) => channel.close(),
        () => undefined,
      );
    }
    throw error;
  }
}
