"""ShuffleNet V1 for 32 x 32 images: grouped convolutions, channels shuffled in between."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers import Features

STEM = 24
DEPTHS = (4, 8, 4)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels of x (B, C, H, W) dealt out over the groups: the transpose of (groups, C/groups)."""
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


class GroupUnit(nn.Module):
    """Grouped 1 x 1, depthwise 3 x 3, grouped 1 x 1 convolutions (V1, figure 2).

    With stride 1 their result is added to the input, with stride 2 the averaged input is appended.
    """

    def __init__(self, inward: int, outward: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride = stride
        self.groups = 1 if inward == STEM else groups  # too few channels for groups
        own = outward - inward if stride == 2 else outward
        hidden = own // 4
        self.conv1 = nn.Conv2d(inward, hidden, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, own, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(own)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's map, after its last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(shuffled(y, self.groups))), inplace=True)
        y = self.bn3(self.conv3(y))
        if self.stride == 2:
            return F.relu(torch.cat((y, F.avg_pool2d(x, 3, 2, 1)), 1), inplace=True)
        return F.relu(y + x, inplace=True)


class ShuffleNetV1(nn.Module):
    """A 1 x 1 stem and three stages of group units.

    Zhang et al. ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices. CVPR 2018. arXiv:1707.01083. Unlike the paper, ReLU follows the depthwise convolution
    and the stem keeps the resolution.

    Args:
        classes: number of classes K.
        widths: channels of the three stages.
        groups: of the 1 x 1 convolutions.

    """

    def __init__(self, classes: int, widths: tuple[int, int, int], groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                GroupUnit(inward, outward, 2, groups),
                *(GroupUnit(outward, outward, 1, groups) for _ in range(depth - 1)),
            )
            for inward, outward, depth in zip((STEM, *widths), widths, DEPTHS, strict=False)
        )
        self.linear = nn.Linear(widths[2], classes)

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, S, S): maps of side S/2, S/4 and S/8, after a ReLU."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        pooled = F.adaptive_avg_pool2d(third, 1).flatten(1)
        return Features((first, second, third), pooled, self.linear(pooled))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "shufflenet_v1": partial(ShuffleNetV1, widths=(240, 480, 960), groups=3),
}
