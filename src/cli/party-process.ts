// The child processes of `run --parties processes`: a provider or a model owner, told what to do by the process that started it.
// Messages to and from the parent carry settings and byte counts; the protocol itself goes through real sockets.
import { createNodeCompute } from '../kernel/pool.node.js';
import { addDrySuites, type Traffic } from '../party/session.js';
import { createRecorder, type Timeline } from '../party/timeline.js';
import type { Channel } from '../wire/channel.js';
import type { NetworkProfile } from '../wire/profiles.js';
import type { Listener } from '../wire/websocket.node.js';
import { hostProvider, hostServer } from './hosting.js';
import { readModelFolder } from './model-folder.js';

/** What the parent sends first. */
export interface PartySettings {
  readonly role: 'provider' | 'server';
  readonly threads: number;
  readonly network?: NetworkProfile;
  /** Server: folder of the compiled model, and where the provider listens. */
  readonly model?: string;
  readonly providerUrl?: string;
  /** Whether to write down what this party does when. */
  readonly timelines?: boolean;
  /** Whether the suites are dry ones (protocol/dry.ts). */
  readonly dry?: boolean;
}

/** What the child answers: where it listens, or why it does not; on "traffic", the counters of the server's link to the provider; on "timeline", its own. */
export type PartyAnswer =
  | { readonly kind: 'listening'; readonly url: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'traffic'; readonly traffic: Traffic }
  | { readonly kind: 'timeline'; readonly timeline: Timeline };

function answer(message: PartyAnswer): void {
  process.send?.(message);
}

async function start(settings: PartySettings): Promise<void> {
  const compute = await createNodeCompute({ threads: settings.threads });
  const network = settings.network === undefined ? {} : { network: settings.network };
  const recorder = settings.timelines ? createRecorder() : undefined;
  const common = { compute, host: '127.0.0.1', port: 0, ...network, ...(recorder === undefined ? {} : { recorder }) };
  if (settings.dry) addDrySuites();
  let link: Channel | undefined;
  let listener: Listener;
  if (settings.role === 'provider') listener = await hostProvider(common);
  else {
    const { compiled } = await readModelFolder(settings.model ?? '');
    listener = await hostServer({
      ...common,
      model: compiled,
      providerUrl: settings.providerUrl ?? '',
      onProviderLink: (opened) => {
        link = opened;
      },
    });
  }
  process.on('message', (message) => {
    if (message === 'timeline' && recorder !== undefined) {
      answer({ kind: 'timeline', timeline: { spans: recorder.spans, messages: recorder.messages } });
    }
    if (message !== 'traffic' || link === undefined) return;
    const { sent, received, framingBytes } = link;
    answer({ kind: 'traffic', traffic: { sent, received, framingBytes } });
  });
  answer({ kind: 'listening', url: listener.url });
}

// The parent ends its children; should it vanish, they end themselves, also where that was before this line ran. Ctrl-C is the parent's.
process.on('disconnect', () => process.exit());
if (!process.connected) process.exit();
process.on('SIGINT', () => {});
process.once('message', (settings) => {
  start(settings as PartySettings).catch((error: Error) => {
    answer({ kind: 'failed', message: error.message });
  });
});
