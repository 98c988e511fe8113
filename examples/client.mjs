// The data owner:  node examples/client.mjs PICTURE [SERVER-URL] [PROVIDER-URL]
import { loadPictures } from 'tessera/data/dataset.node';
import { createNodeCompute } from 'tessera/kernel/pool.node';
import { openClientSession } from 'tessera/party/client';
import { connect } from 'tessera/wire/websocket.node';

const [picture = '', serverUrl = 'ws://127.0.0.1:7001', providerUrl = 'ws://127.0.0.1:7002'] = process.argv.slice(2);
const compute = await createNodeCompute();
const session = await openClientSession({ compute, server: await connect(serverUrl), provider: await connect(providerUrl) });

// The server's preprocessing: it is public, the picture is not.
const preprocessing = /** @type {any} */ (session.info.preprocess);
const pictures = await loadPictures([picture], { preprocessing });
const { outputs } = await session.infer(await pictures.read(0, 1));
const logits = outputs[0] ?? new Float32Array();
console.log(session.info.classes?.[logits.indexOf(Math.max(...logits))]);
await session.close();
await compute.close();
