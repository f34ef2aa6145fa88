"""ShuffleNet V2 for 32 x 32 images: half of the channels convolved, then all shuffled."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.shufflenet import DEPTHS, STEM, shuffled
from distillers import Features


class SplitUnit(nn.Module):
    """Half of the channels pass, half are convolved, then all are shuffled (V2, figure 3c)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape (B, C, H, W)."""
        kept, y = x.chunk(2, 1)
        y = F.relu(self.bn1(self.conv1(y)), inplace=True)
        y = self.bn2(self.conv2(y))
        y = F.relu(self.bn3(self.conv3(y)), inplace=True)
        return shuffled(torch.cat((kept, y), 1), 2)


class DownUnit(nn.Module):
    """Both paths see all channels and halve the resolution (V2, figure 3d)."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        half = outward // 2
        self.conv1 = nn.Conv2d(inward, inward, 3, 2, 1, groups=inward, bias=False)
        self.bn1 = nn.BatchNorm2d(inward)
        self.conv2 = nn.Conv2d(inward, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(inward, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, 2, 1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outward, H/2, W/2)."""
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))), inplace=True)
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = F.relu(self.bn5(self.conv5(self.bn4(self.conv4(right)))), inplace=True)
        return shuffled(torch.cat((left, right), 1), 2)


class ShuffleNetV2(nn.Module):
    """A 1 x 1 stem, three stages of split units, a 1 x 1 convolution.

    Ma et al. ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design. ECCV
    2018. arXiv:1807.11164. Unlike the paper, the stem keeps the resolution, and stages have as
    many units as in V1.

    Args:
        classes: number of classes K.
        widths: channels of the three stages.

    """

    def __init__(self, classes: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                DownUnit(inward, outward), *(SplitUnit(outward) for _ in range(depth - 1))
            )
            for inward, outward, depth in zip((STEM, *widths), widths, DEPTHS, strict=False)
        )
        self.conv2 = nn.Conv2d(widths[2], 1024, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, classes)

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, S, S): maps of side S/2, S/4 and S/8."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        last = F.relu(self.bn2(self.conv2(third)), inplace=True)
        pooled = F.adaptive_avg_pool2d(last, 1).flatten(1)
        return Features((first, second, third), pooled, self.linear(pooled))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "shufflenet_v2": partial(ShuffleNetV2, widths=(116, 232, 464)),
}
