// The ResNet for CIFAR that benchmarks train in PyTorch, as Python text: what src/train/architectures.ts builds here.

/** Defines resnet(depth, classes), whose shortcuts have no weights; expects torch.nn as nn and torch.nn.functional as F. */
export const torchResnet = `
class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.c1 = nn.Conv2d(i, o, 3, stride, 1, bias=False); self.b1 = nn.BatchNorm2d(o)
        self.c2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); self.b2 = nn.BatchNorm2d(o)
        self.stride, self.more = stride, o - i
    def forward(self, x):
        y = self.b2(self.c2(F.relu(self.b1(self.c1(x)))))
        if self.stride > 1: x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(x + y)
def resnet(depth, classes):
    blocks, width = [], 16
    for stage, out in enumerate((16, 32, 64)):
        for k in range((depth - 2) // 6):
            blocks.append(Block(width, out, 2 if stage > 0 and k == 0 else 1)); width = out
    return nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))
`;
