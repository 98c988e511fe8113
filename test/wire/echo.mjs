// A party in a process of its own, for processes.test.ts: connects, sends back what it is sent, and stops when told to.
import { connect } from '../../dist/src/wire/websocket.node.js';

const channel = await connect(process.argv[2], { limits: { waitSeconds: 30 } });
const failure = channel.ended;
for (let inference = 0; ; inference++) {
  const message = await channel.receive({ inference, step: 0, name: 0 }).catch(() => undefined);
  if (message === undefined) break;
  channel.send({ inference, step: 0, name: 1 }, message.payload, 'online', message.depth + 1);
}
const error = await failure;
process.stdout.write(`${error?.code ?? 'done'}\n`);
