"""MobileNetV2 of half width for 32 x 32 images."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models import initial
from distillers import Features

GROUPS = (  # (expansion, channels at full width, blocks, stride), table 2 but for the strides
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STAGE_ENDS = (1, 2, 4, 6)  # the group that each stage ends with


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project: (B, inward, H, W) to (B, outward, H/s, W/s)."""

    def __init__(self, inward: int, outward: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inward * expansion
        self.residual = stride == 1 and inward == outward
        self.conv = nn.Sequential(
            *convolution(inward, hidden, 1),
            *convolution(hidden, hidden, 3, stride, hidden),
            *list(convolution(hidden, outward, 1))[:-1],
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear projection (negatives too), added to x where the shapes agree."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """A stem of stride 2, seven groups of inverted residuals, a 1 x 1 convolution.

    Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018.
    arXiv:1801.04381. Unlike the paper: strides for small images, ReLU instead of ReLU6, and the
    first group expands (by 1) as all others do.

    Args:
        classes: number of classes K.
        width: multiplies every number of channels but the last, 1280.

    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        channels = int(32 * width)
        self.conv1 = convolution(3, channels, 3, 2)
        self.blocks = nn.ModuleList()
        for expansion, full, count, stride in GROUPS:
            outward = int(full * width)
            first = InvertedResidual(channels, outward, stride, expansion)
            rest = (InvertedResidual(outward, outward, 1, expansion) for _ in range(count - 1))
            self.blocks.append(nn.Sequential(first, *rest))
            channels = outward
        self.conv2 = convolution(channels, 1280, 1)
        head = nn.Linear(1280, classes)
        self.classifier = nn.Sequential(head)
        initial.convolutions(self)
        initial.classifier(head)

    def forward(self, images: Tensor) -> Features:
        """Features of images (B, 3, S, S): raw maps of side S/2, S/4, S/8 and S/16."""
        x = self.conv1(images)
        ends = []
        for group in self.blocks:
            x = group(x)
            ends.append(x)
        pooled = F.adaptive_avg_pool2d(self.conv2(x), 1).flatten(1)
        return Features(tuple(ends[i] for i in STAGE_ENDS), pooled, self.classifier(pooled))


def convolution(
    inward: int, outward: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, BN, ReLU; the padding keeps the resolution at stride 1."""
    return nn.Sequential(
        nn.Conv2d(inward, outward, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outward),
        nn.ReLU(inplace=True),
    )


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "mobilenet_v2": partial(MobileNetV2, width=0.5),
}
