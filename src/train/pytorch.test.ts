// Steps of a ResNet beside the same steps in PyTorch; left out where no python3 has it.
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { values } from '../../test/networks.js';
import type { Compute } from '../kernel/compute.js';
import { createNodeCompute } from '../kernel/pool.node.js';
import { buildArchitecture } from './architectures.js';
import { createSgd } from './sgd.js';
import { openTrainable } from './trainable.js';

const python = ['python3', '/usr/bin/python3'].find((name) => spawnSync(name, ['-c', 'import torch']).status === 0);

/** Runs the nodes it is given; gradients and velocities are PyTorch's own. */
const program = `
import json, sys, torch
import torch.nn.functional as F
job = json.load(sys.stdin)
tensors = lambda lists: [torch.tensor(v, dtype=torch.float32) for v in lists]
params, states = {}, {}
for node in job['nodes']:
    name = node['name']
    if node['kind'] == 'conv':
        g = node['geometry']
        params[name + '.weight'] = torch.tensor(node['weights']).reshape(g['outputChannels'], -1, g['kernelHeight'], g['kernelWidth'])
        if name == 'dense': params[name + '.bias'] = torch.tensor(node['bias'])
    if node['kind'] == 'batchnorm':
        params[name + '.gamma'], params[name + '.beta'] = tensors([node['gamma'], node['beta']])
        states[name + '.mean'], states[name + '.variance'] = tensors([node['mean'], node['variance']])
params = {n: p.float().requires_grad_() for n, p in params.items()}
decays = [p for n, p in params.items() if n.endswith('.weight')]
rest = [p for n, p in params.items() if not n.endswith('.weight')]
optimiser = torch.optim.SGD([{'params': decays, 'weight_decay': job['decay']}, {'params': rest}], job['rate'], job['momentum'], nesterov=True)
images = torch.tensor(job['images']).reshape(-1, 3, 32, 32)
labels = torch.tensor(job['labels'])
losses = []
for _ in range(job['steps']):
    value = {'input': images}
    for node in job['nodes']:
        x, name = value[node['inputs'][0]], node['name']
        if node['kind'] == 'conv':
            g = node['geometry']
            y = F.conv2d(x.reshape(x.shape[0], x.shape[1], *(x.shape[2:] or (1, 1))), params[name + '.weight'], params.get(name + '.bias'), g['strideY'], g['padTop'])
        elif node['kind'] == 'batchnorm':
            y = F.batch_norm(x, states[name + '.mean'], states[name + '.variance'], params[name + '.gamma'], params[name + '.beta'], True, node['momentum'], node['epsilon'])
        elif node['kind'] == 'relu': y = F.relu(x)
        elif node['kind'] == 'add': y = x + value[node['inputs'][1]]
        elif node['kind'] == 'averagepool': y = F.avg_pool2d(x, x.shape[2])
        else:
            more = node['shape'][0] - x.shape[1]
            y = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more // 2, more - more // 2))
        value[node['output']] = y
    optimiser.zero_grad()
    loss = F.cross_entropy(value[job['output']].flatten(1), labels, label_smoothing=job['smoothing'])
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
out = {n: p.detach().flatten().tolist() for n, p in list(params.items()) + list(states.items())}
json.dump({'losses': losses, 'arrays': out}, sys.stdout)
`;

let compute: Compute;
beforeAll(async () => {
  compute = await createNodeCompute({ threads: 2 });
});
afterAll(() => compute.close());

it.skipIf(python === undefined)('a ResNet of eight layers takes the steps that PyTorch takes', async () => {
  const network = buildArchitecture('resnet8', { classes: 10, seed: 2 });
  const [count, steps, rate, momentum, decay, smoothing] = [8, 3, 0.05, 0.9, 1e-3, 0.1];
  const images = values(count * 3 * 32 * 32, 1);
  const labels = Int32Array.from({ length: count }, (_, i) => i % 10);
  const job = {
    nodes: network.nodes,
    output: network.output,
    images: [...images],
    labels: [...labels],
    steps,
    rate,
    momentum,
    decay,
    smoothing,
  };
  const input = JSON.stringify(job, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value));
  const { stdout, stderr } = spawnSync(python!, ['-c', program], { input, encoding: 'utf8', maxBuffer: 2 ** 28 });
  expect(stdout, stderr).not.toBe('');
  const expected = JSON.parse(stdout) as { losses: number[]; arrays: Record<string, number[]> };
  const trainable = await openTrainable(compute, network);
  const sgd = createSgd(compute, trainable.parameters, { momentum, nesterov: true, weightDecay: decay });
  for (const loss of expected.losses) {
    expect((await trainable.learn(images, count, { labels }, { labelSmoothing: smoothing })).loss).toBeCloseTo(loss, 3);
    await sgd.step(rate);
  }
  const arrays = [...trainable.parameters, ...trainable.states];
  expect(arrays.map(({ name }) => name).sort()).toEqual(Object.keys(expected.arrays).sort());
  for (const { name, values: found } of arrays) {
    const wanted = expected.arrays[name]!;
    const size = Math.max(...wanted.map(Math.abs));
    const error = Math.max(...wanted.map((v, i) => Math.abs(v - found[i]!)));
    expect(error, name).toBeLessThan(5e-3 * size);
  }
  sgd.close();
  trainable.close();
});
