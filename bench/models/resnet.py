"""Residual networks for 32 x 32 images: ResNets of three stages, ResNet-50 and wide ResNets."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.base import Builder, Tap, Taps, init_convolutions, stage
from distillers import Features

EXPANSION = 4  # output channels of a bottleneck block / channels of its 3 x 3 convolution


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return the identity if the shape does not change; otherwise a 1 x 1 convolution and BN."""
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    With stride s, the block maps (B, C_in, H, W) to (B, C_out, H/s, W/s).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map after its last ReLU."""
        short = self.downsample(x)  # called first: the order of calls changes gradient rounding
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y: Tensor = self.relu(self.bn2(self.conv2(x)) + short)
        return y


class ResNet(nn.Module):
    """A 3 x 3 convolution (the stem) and three stages; the depth is 6 * blocks + 2 layers.

    He et al. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385, section
    4.2. Shortcuts that change the shape are 1 x 1 convolutions. The paper pads with zeros instead.

    Args:
        classes: number of classes K.
        blocks: number of residual blocks in each stage.
        widths: channels of the stem and of the three stages.

    """

    def __init__(self, classes: int, blocks: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        stem, first, second, third = widths
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = stage(Block(stem, first), partial(Block, first, first), blocks)
        self.layer2 = stage(Block(first, second, 2), partial(Block, second, second), blocks)
        self.layer3 = stage(Block(second, third, 2), partial(Block, third, third), blocks)
        self.fc = nn.Linear(third, classes)
        self.relu = nn.ReLU(inplace=True)
        init_convolutions(self)
        last = [f"layer{i}.{blocks - 1}" for i in (1, 2, 3)]
        self.taps = block_taps(last, "bn2", "fc")

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): maps of side S, S/2 and S/4, after a ReLU."""
        x = self.relu(self.bn1(self.conv1(images)))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        pooled = F.adaptive_avg_pool2d(third, 1).flatten(1)
        return Features((first, second, third), pooled, self.fc(pooled))


def block_taps(last: Sequence[str], norm: str, classifier: str) -> Taps:
    """Return the taps of a network whose stages end with the ReLU of a block.

    Args:
        last: names of the last blocks of the stages.
        norm: name of a block's last batch norm.
        classifier: name of the classifier.

    """
    return Taps(
        stem=Tap("relu"),
        preactivations=tuple(Tap(f"{block}.relu", "input") for block in last),
        pooled_map="last stage",
        classifier=classifier,
        norms=tuple(f"{block}.{norm}" for block in last),
    )


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution, with a shortcut.

    With stride s, the block maps (B, C_in, H, W) to (B, 4 * width, H/s, W/s).
    """

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map after its last ReLU."""
        short = self.shortcut(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        y: Tensor = self.relu(self.bn3(self.conv3(x)) + short)
        return y


class BottleneckResNet(nn.Module):
    """A 3 x 3 convolution (the stem) and four stages of 256, 512, 1024 and 2048 channels.

    He et al. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385. Unlike
    in the paper, the stem keeps the resolution, and a block's stride is in its 3 x 3 convolution.

    Args:
        classes: number of classes K.
        blocks: number of residual blocks in each stage.

    """

    def __init__(self, classes: int, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(Bottleneck(64, 64), partial(Bottleneck, 256, 64), blocks[0])
        self.layer2 = stage(Bottleneck(256, 128, 2), partial(Bottleneck, 512, 128), blocks[1])
        self.layer3 = stage(Bottleneck(512, 256, 2), partial(Bottleneck, 1024, 256), blocks[2])
        self.layer4 = stage(Bottleneck(1024, 512, 2), partial(Bottleneck, 2048, 512), blocks[3])
        self.linear = nn.Linear(2048, classes)
        self.relu = nn.ReLU(inplace=True)
        init_convolutions(self)
        last = [f"layer{i}.{depth - 1}" for i, depth in enumerate(blocks, 1)]
        self.taps = block_taps(last, "bn3", "linear")

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): maps of side S, S/2, S/4, S/8, after a ReLU."""
        x = self.relu(self.bn1(self.conv1(images)))
        stages = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            stages.append(x)
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return Features(tuple(stages), pooled, self.linear(pooled))


class WideBlock(nn.Module):
    """BN, ReLU and a 3 x 3 convolution, twice, with a shortcut.

    With stride s, the block maps (B, C_in, H, W) to (B, C_out, H/s, W/s). If C_in = C_out, the
    shortcut starts at the block's input; otherwise it starts after the first ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.convShortcut: nn.Module | None = None  # noqa: N815 - named as in released checkpoints
        if in_channels != out_channels:
            self.convShortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the shortcut and the convolutions; no BN or ReLU follows the sum."""
        active = F.relu(self.bn1(x), inplace=True)
        shortcut = x if self.convShortcut is None else self.convShortcut(active)
        x = F.relu(self.bn2(self.conv1(active)), inplace=True)
        y: Tensor = self.conv2(x)
        return shortcut + y


class WideResNet(nn.Module):
    """A 3 x 3 convolution (the stem) and three stages of 16 f, 32 f and 64 f channels.

    Zagoruyko, Komodakis. Wide Residual Networks. BMVC 2016. arXiv:1605.07146. Dropout is not used.
    The depth is 6 * blocks + 4 layers.

    Args:
        classes: number of classes K.
        blocks: number of residual blocks in each stage.
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
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(third, classes)
        init_convolutions(self)
        nn.init.zeros_(self.fc.bias)
        norms = "block2.layer.0.bn1", "block3.layer.0.bn1", "bn1"  # the batch norm after each stage
        self.taps = Taps(Tap("conv1"), tuple(map(Tap, norms)), Tap("relu"), "fc", norms)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): maps of side S, S/2 and S/4.

        No ReLU follows a stage, so its map has negative values too.
        """
        first = self.block1(self.conv1(images))
        second = self.block2(first)
        third = self.block3(second)
        active = self.relu(self.bn1(third))
        pooled = F.adaptive_avg_pool2d(active, 1).flatten(1)
        return Features((first, second, third), pooled, self.fc(pooled))


def named_stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    """Return a stage whose parameters are named `layer.*`, as in released checkpoints."""
    first = WideBlock(in_channels, out_channels, stride)
    row = stage(first, partial(WideBlock, out_channels, out_channels), blocks)
    return nn.Sequential(OrderedDict(layer=row))


NARROW = (16, 16, 32, 64)  # channels of the stem and the three stages
WIDE = (32, 64, 128, 256)  # channels of networks with "x4" in their names

NETWORKS: dict[str, Builder] = {
    **{
        f"resnet{depth}": partial(ResNet, blocks=(depth - 2) // 6, widths=NARROW)
        for depth in (8, 14, 20, 32, 44, 56, 110)
    },
    **{
        f"resnet{depth}x4": partial(ResNet, blocks=(depth - 2) // 6, widths=WIDE)
        for depth in (8, 32)
    },
    "resnet50": partial(BottleneckResNet, blocks=(3, 4, 6, 3)),
    **{
        f"wrn_{depth}_{factor}": partial(WideResNet, blocks=(depth - 4) // 6, factor=factor)
        for depth in (16, 40)
        for factor in (1, 2)
    },
}
