"""ResNet-50 for 32 x 32 images: four stages of three-layer blocks behind a 3 x 3 stem."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models import initial
from distillers import Features

EXPANSION = 4


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions: (B, inward, H, W) to (B, 4 width, H/s, W/s)."""

    def __init__(self, inward: int, width: int, stride: int) -> None:
        super().__init__()
        outward = EXPANSION * width
        self.conv1 = nn.Conv2d(inward, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outward, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outward)
        self.shortcut = nn.Sequential()
        if stride != 1 or inward != outward:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map, after its last ReLU."""
        shortcut = self.shortcut(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(self.bn3(self.conv3(x)) + shortcut, inplace=True)


class BottleneckResNet(nn.Module):
    """A stem and four stages of 256, 512, 1024 and 2048 channels.

    He et al. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385. Unlike
    the paper, the stem keeps the resolution and the 3 x 3 convolution carries the stride.

    Args:
        classes: number of classes K.
        blocks: residual blocks of each stage.

    """

    def __init__(self, classes: int, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(64, 64, blocks[0], 1)
        self.layer2 = stage(256, 128, blocks[1], 2)
        self.layer3 = stage(512, 256, blocks[2], 2)
        self.layer4 = stage(1024, 512, blocks[3], 2)
        self.linear = nn.Linear(2048, classes)
        initial.convolutions(self)

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, S, S): maps of side S, S/2, S/4 and S/8, after a ReLU."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        stages = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            stages.append(x)
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return Features(tuple(stages), pooled, self.linear(pooled))


def stage(inward: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks in a row; the first of them changes width and resolution."""
    rest = (Bottleneck(EXPANSION * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(inward, width, stride), *rest)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "resnet50": partial(BottleneckResNet, blocks=(3, 4, 6, 3)),
}
