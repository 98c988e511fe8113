// A recipe of `tessera train` in PyTorch: the same architecture, pictures, augmentation, steps and choice of the epoch, with its own draws.
import { spawnSync } from 'node:child_process';
import { printed } from './_command.js';
import { torchResnet } from './_torch-network.js';

/** ResNet for CIFAR with shortcuts without weights. Reads a job, prints what came of it; keeps every epoch, and goes on after the last one. */
const program = `
import json, math, os, sys, time
import numpy as np, torch
import torch.nn as nn, torch.nn.functional as F
job = json.load(sys.stdin)
torch.set_num_threads(job['threads']); torch.manual_seed(job['seed'])
${torchResnet}net = resnet(job['depth'], job['classes'])
for m in net.modules():
    if isinstance(m, (nn.Conv2d, nn.Linear)): nn.init.kaiming_normal_(m.weight, nonlinearity='relu')
    if isinstance(m, nn.Linear): nn.init.zeros_(m.bias)
decays = [m.weight for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
rest = [p for p in net.parameters() if not any(p is d for d in decays)]
optimiser = torch.optim.SGD([{'params': decays, 'weight_decay': job['weightDecay']}, {'params': rest}], job['learningRate'], job['momentum'], nesterov=job['nesterov'])
mean, std = (torch.tensor(job[k]).view(1, 3, 1, 1) for k in ('mean', 'std'))
def read(path):
    raw = np.fromfile(path, np.uint8).reshape(-1, 3073)
    return torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(raw[:, 0].astype(np.int64))
scaled = lambda x: (x.float() / 255 - mean) / std
pixels, labels = read(job['train'])
held = torch.zeros(job['total'], dtype=torch.bool); held[job['heldOut']] = True
val = (pixels[:job['total']][held], labels[:job['total']][held])
pixels, labels = pixels[:job['total']][~held], labels[:job['total']][~held]
pad, planes, places = job['crop'], torch.arange(3).view(1, 3, 1, 1), torch.arange(32)
def augmented(x):
    n = len(x)
    rows, columns = (places + torch.randint(0, 2 * pad + 1, (n, 1)) for _ in range(2))
    if job['flip']: columns = torch.where(torch.rand(n, 1) < 0.5, columns.flip(1), columns)
    x = F.pad(x, (pad, pad, pad, pad))
    return scaled(x[torch.arange(n).view(-1, 1, 1, 1), planes, rows.view(n, 1, 32, 1), columns.view(n, 1, 1, 32)])
def right(x, y):
    net.eval()
    with torch.no_grad(): found = torch.cat([net(scaled(part)).argmax(1) for part in x.split(250)])
    net.train()
    return (found == y).float().mean().item()
batch, epochs = job['batchSize'], job['epochs']
steps = len(pixels) // batch
rise, total = round(job['warmUp'] * steps), epochs * steps
def rate(at):
    if at < rise: return job['learningRate'] * (at + 1) / (rise + 1)
    return job['learningRate'] / 2 * (1 + math.cos(math.pi * (at - rise) / max(1, total - rise)))
state, file = {'curve': [], 'best': -1, 'weights': None}, os.path.join(job['folder'], 'torch.pt')
if os.path.exists(file):
    state = torch.load(file); net.load_state_dict(state['net']); optimiser.load_state_dict(state['optimiser']); torch.set_rng_state(state['rng'])
net.train()
for epoch in range(len(state['curve']), epochs):
    start, order, sums = time.perf_counter(), torch.randperm(len(pixels)), [0.0, 0]
    for step in range(steps):
        pick = order[step * batch:(step + 1) * batch]
        for group in optimiser.param_groups: group['lr'] = rate(epoch * steps + step)
        scores = net(augmented(pixels[pick])); loss = F.cross_entropy(scores, labels[pick])
        optimiser.zero_grad(); loss.backward(); optimiser.step()
        sums[0] += loss.item() / steps; sums[1] += (scores.argmax(1) == labels[pick]).sum().item()
    seconds, score = time.perf_counter() - start, right(*val)
    state['curve'].append({'epoch': epoch + 1, 'loss': sums[0], 'accuracy': sums[1] / (steps * batch), 'validation': score, 'seconds': seconds, 'load': os.getloadavg()[0]})
    if score > state['best']: state.update(best=score, weights={k: v.clone() for k, v in net.state_dict().items()})
    torch.save({**state, 'net': net.state_dict(), 'optimiser': optimiser.state_dict(), 'rng': torch.get_rng_state()}, file + '.part'); os.replace(file + '.part', file)
    print('PyTorch', json.dumps(state['curve'][-1]), file=sys.stderr, flush=True)
net.load_state_dict(state['weights'])
print(json.dumps({'version': torch.__version__, 'parameters': sum(p.numel() for p in net.parameters()), 'test': right(*read(job['test'])), 'epochs': state['curve']}))
`;

export interface TorchJob {
  /** Records of CIFAR-10: the first `total` of them are trained on, those in `heldOut` left out. */
  readonly train: string;
  readonly test: string;
  readonly total: number;
  readonly heldOut: readonly number[];
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly depth: number;
  readonly classes: number;
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly warmUp: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  readonly crop: number;
  readonly flip: boolean;
  readonly seed: number;
  readonly threads: number;
  /** Where epochs are kept. */
  readonly folder: string;
}

export interface TorchTrained {
  readonly version: string;
  readonly parameters: number;
  /** Share of the test pictures that the best epoch's network names. */
  readonly test: number;
  readonly epochs: readonly { readonly loss: number; readonly validation: number; readonly seconds: number; readonly load: number }[];
}

/** Trains, or goes on with what is kept; undefined where no python3 has PyTorch. */
export async function trainWithTorch(job: TorchJob): Promise<TorchTrained | undefined> {
  const python = ['python3', '/usr/bin/python3'].find((name) => spawnSync(name, ['-c', 'import torch']).status === 0);
  if (python === undefined) {
    process.stderr.write('no python3 here has PyTorch: left out\n');
    return undefined;
  }
  return JSON.parse(await printed(python, ['-c', program], JSON.stringify(job)));
}
