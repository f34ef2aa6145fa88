"""Wide residual networks: pre-activation blocks, few and wide."""

from collections import OrderedDict
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.base import Builder, init_convolutions, stage
from distillers import Features


class Block(nn.Module):
    """BN, ReLU, 3 x 3 convolution, twice: (B, C_in, H, W) to (B, C_out, H/s, W/s).

    Where the width changes, the shortcut reads the activated map, else the raw one.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.convShortcut: nn.Module | None = None  # noqa: N815 - as in released checkpoints
        if in_channels != out_channels:
            self.convShortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both paths, before any BN or ReLU."""
        active = F.relu(self.bn1(x), inplace=True)
        shortcut = x if self.convShortcut is None else self.convShortcut(active)
        x = F.relu(self.bn2(self.conv1(active)), inplace=True)
        y: Tensor = self.conv2(x)
        return shortcut + y


class WideResNet(nn.Module):
    """A stem and three stages of 16 f, 32 f and 64 f channels; depth = 6 blocks + 4.

    Zagoruyko, Komodakis. Wide Residual Networks. BMVC 2016. arXiv:1605.07146. Without dropout.

    Args:
        classes: number of classes K.
        blocks: residual blocks in each stage.
        factor: the widening factor f.

    """

    def __init__(self, classes: int, blocks: int, factor: int) -> None:
        super().__init__()
        first, second, third = 16 * factor, 32 * factor, 64 * factor
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = named_stage(16, first, blocks, 1)
        self.block2 = named_stage(first, second, blocks, 2)
        self.block3 = named_stage(second, third, blocks, 2)
        self.bn1 = nn.BatchNorm2d(third)
        self.fc = nn.Linear(third, classes)
        init_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): raw maps of side S, S/2 and S/4.

        Raw maps have negative values too.
        """
        first = self.block1(self.conv1(images))
        second = self.block2(first)
        third = self.block3(second)
        active = F.relu(self.bn1(third), inplace=True)
        pooled = F.adaptive_avg_pool2d(active, 1).flatten(1)
        return Features((first, second, third), pooled, self.fc(pooled))


def named_stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """Return a stage under the name `layer`, as in released checkpoints."""
    first = Block(in_channels, out_channels, stride)
    row = stage(first, partial(Block, out_channels, out_channels), blocks)
    return nn.Sequential(OrderedDict(layer=row))


NETWORKS: dict[str, Builder] = {
    f"wrn_{depth}_{factor}": partial(WideResNet, blocks=(depth - 4) // 6, factor=factor)
    for depth in (16, 40)
    for factor in (1, 2)
}
