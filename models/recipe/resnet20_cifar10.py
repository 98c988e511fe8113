"""Trains models/cifar10-resnet20.onnx: ResNet-20 (He et al. 2015, section 4.2) with 1x1 projection shortcuts, on CIFAR-10.

    python3 models/recipe/resnet20_cifar10.py TRAIN.bin OUT.onnx [epochs] [threads]

TRAIN.bin holds the 50,000 training pictures in CIFAR's binary format (1 label byte + 3,072 bytes, planes R, G, B).
Needs Debian's python3-torch (1.13) and nothing else. Batch normalisation is folded into the convolutions before export.
"""
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BATCH, PEAK_LEARNING_RATE, WEIGHT_DECAY, SEED = 128, 0.4, 5e-4, 20261121


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet20(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for outputs, stride in ((16, 1), (32, 2), (64, 2)):
            for i in range(3):
                blocks.append(Block(inputs, outputs, stride if i == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn(self.conv(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def load(path):
    raw = np.fromfile(path, np.uint8).reshape(-1, 3073)
    pixels = torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (pixels - mean) / std, torch.from_numpy(raw[:, 0].astype(np.int64))


def augment(x):
    """Random flip and a crop with 4 pixels of padding, the same for a small group of pictures (8 groups a batch)."""
    padded = F.pad(x, (4, 4, 4, 4))
    out = []
    for part in padded.split(max(1, len(x) // 8)):
        dy, dx = torch.randint(0, 9, (2,)).tolist()
        part = part[:, :, dy:dy + 32, dx:dx + 32]
        out.append(part.flip(3) if torch.rand(()) < 0.5 else part)
    return torch.cat(out)


def main():
    train_path, out_path = sys.argv[1], sys.argv[2]
    epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 14
    torch.set_num_threads(int(sys.argv[4]) if len(sys.argv) > 4 else 2)
    torch.manual_seed(SEED)
    images, labels = load(train_path)
    net = ResNet20().to(memory_format=torch.channels_last)
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.2)
    started = time.time()
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(images))
        total = right = 0
        for i in range(0, len(images) - BATCH + 1, BATCH):
            pick = order[i:i + BATCH]
            x = augment(images[pick]).to(memory_format=torch.channels_last)
            logits = net(x)
            loss = F.cross_entropy(logits, labels[pick], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
            right += (logits.argmax(1) == labels[pick]).sum().item()
        print(f"epoch {epoch + 1}/{epochs} loss {total / (len(images) // BATCH):.4f} train {right / len(images):.4f} {time.time() - started:.0f} s", flush=True)
        torch.save(net.state_dict(), out_path + ".pt")
    net.eval()
    net = net.to(memory_format=torch.contiguous_format)
    torch.onnx.export(net, torch.zeros(1, 3, 32, 32), out_path, opset_version=13, input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}}, do_constant_folding=True)


if __name__ == "__main__":
    main()
