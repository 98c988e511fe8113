// The helper party:  node examples/provider.mjs [PORT]
import { createNodeCompute } from 'tessera/kernel/pool.node';
import { providerLimits } from 'tessera/party/limits';
import { createProvider } from 'tessera/party/provider';
import { listen } from 'tessera/wire/websocket.node';

const provider = createProvider({ compute: await createNodeCompute() });
const listener = await listen({
  host: '127.0.0.1',
  port: Number(process.argv[2] ?? 7002),
  limits: providerLimits,
  onConnection: (channel) => provider.serve(channel).catch((error) => console.error(error.message)),
});
console.log(`provider on ${listener.url}`);
