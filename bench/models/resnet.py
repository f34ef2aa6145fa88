"""Residual networks for 32 x 32 images: three stages of two-layer blocks."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models import initial
from distillers import Features


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut: (B, inward, H, W) to (B, outward, H/s, W/s)."""

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outward)
        self.downsample: nn.Module | None = None
        if stride != 1 or inward != outward:
            self.downsample = nn.Sequential(
                nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map, after its last ReLU."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class ResNet(nn.Module):
    """A stem and three stages of `blocks` blocks each; depth = 6 blocks + 2.

    He et al. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385, section
    4.2. Unlike the paper, a shortcut that changes shape is a 1 x 1 convolution.

    Args:
        classes: number of classes K.
        blocks: residual blocks in each stage.
        widths: channels of the stem and of the three stages.

    """

    def __init__(self, classes: int, blocks: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        stem, first, second, third = widths
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = stage(stem, first, blocks, 1)
        self.layer2 = stage(first, second, blocks, 2)
        self.layer3 = stage(second, third, blocks, 2)
        self.fc = nn.Linear(third, classes)
        initial.convolutions(self)

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, S, S): maps of side S, S/2 and S/4, each after a ReLU."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        pooled = F.adaptive_avg_pool2d(third, 1).flatten(1)
        return Features((first, second, third), pooled, self.fc(pooled))


def stage(inward: int, outward: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks in a row; the first of them changes width and resolution."""
    rest = (Block(outward, outward, 1) for _ in range(blocks - 1))
    return nn.Sequential(Block(inward, outward, stride), *rest)


NARROW = (16, 16, 32, 64)
WIDE = (32, 64, 128, 256)  # "x4"

NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    **{
        f"resnet{depth}": partial(ResNet, blocks=(depth - 2) // 6, widths=NARROW)
        for depth in (8, 14, 20, 32, 44, 56, 110)
    },
    **{f"resnet{d}x4": partial(ResNet, blocks=(d - 2) // 6, widths=WIDE) for d in (8, 32)},
}
