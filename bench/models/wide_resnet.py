"""Wide residual networks: pre-activation blocks, few and broad."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models import initial
from distillers import Features


class Block(nn.Module):
    """BN, ReLU, 3 x 3 convolution, twice: (B, inward, H, W) to (B, outward, H/s, W/s).

    Where the width changes, the shortcut reads the activated map, else the raw one.
    """

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inward)
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.convShortcut: nn.Module | None = None  # noqa: N815 - as in released checkpoints
        if inward != outward:
            self.convShortcut = nn.Conv2d(inward, outward, 1, stride, bias=False)

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
        self.block1 = stage(16, first, blocks, 1)
        self.block2 = stage(first, second, blocks, 2)
        self.block3 = stage(second, third, blocks, 2)
        self.bn1 = nn.BatchNorm2d(third)
        self.fc = nn.Linear(third, classes)
        initial.convolutions(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, S, S): raw maps (negatives too) of side S, S/2 and S/4."""
        first = self.block1(self.conv1(images))
        second = self.block2(first)
        third = self.block3(second)
        active = F.relu(self.bn1(third), inplace=True)
        pooled = F.adaptive_avg_pool2d(active, 1).flatten(1)
        return Features((first, second, third), pooled, self.fc(pooled))


def stage(inward: int, outward: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks in a row, under the name `layer`; the first changes width and resolution."""
    rest = (Block(outward, outward, 1) for _ in range(blocks - 1))
    row = nn.Sequential(Block(inward, outward, stride), *rest)
    return nn.Sequential(OrderedDict(layer=row))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    f"wrn_{depth}_{factor}": partial(WideResNet, blocks=(depth - 4) // 6, factor=factor)
    for depth in (16, 40)
    for factor in (1, 2)
}
