"""MobileNetV2 of half width for 32 x 32 images."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.base import Builder, init_classifier, init_convolutions, stage
from distillers import Features

GROUPS = (  # (expansion, channels at full width, blocks, stride), table 2 with other strides
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STAGE_ENDS = (1, 2, 4, 6)  # index of the last group of each stage


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project: (B, C_in, H, W) to (B, C_out, H/s, W/s)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *convolution(in_channels, hidden, 1),
            *convolution(hidden, hidden, 3, stride, hidden),
            *list(convolution(hidden, out_channels, 1))[:-1],
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear projection, negative values too; added to x where the shapes agree."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """A stem of stride 2, seven groups of inverted residuals, a 1 x 1 convolution.

    Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018.
    arXiv:1801.04381. Unlike the paper: strides for small images, ReLU instead of ReLU6, and the
    first group expands (by 1) as all other groups do.

    Args:
        classes: number of classes K.
        width: multiplies every number of channels except the last, 1280.

    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        channels = int(32 * width)
        self.conv1 = convolution(3, channels, 3, 2)
        self.blocks = nn.ModuleList()
        for expansion, full, count, stride in GROUPS:
            out_channels = int(full * width)
            first = InvertedResidual(channels, out_channels, stride, expansion)
            block = partial(InvertedResidual, out_channels, out_channels, 1, expansion)
            self.blocks.append(stage(first, block, count))
            channels = out_channels
        self.conv2 = convolution(channels, 1280, 1)
        head = nn.Linear(1280, classes)
        self.classifier = nn.Sequential(head)
        init_convolutions(self)
        init_classifier(head)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): raw maps of side S/2, S/4, S/8 and S/16."""
        x = self.conv1(images)
        maps = []
        for group in self.blocks:
            x = group(x)
            maps.append(x)
        pooled = F.adaptive_avg_pool2d(self.conv2(x), 1).flatten(1)
        return Features(tuple(maps[i] for i in STAGE_ENDS), pooled, self.classifier(pooled))


def convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return convolution, BN, ReLU; the padding keeps the resolution at stride 1."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


NETWORKS: dict[str, Builder] = {
    "mobilenet_v2": partial(MobileNetV2, width=0.5),
}
