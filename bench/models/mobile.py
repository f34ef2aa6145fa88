"""MobileNetV2 (half width), ShuffleNet V1 and ShuffleNet V2, adapted to 32 x 32 images."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.base import Builder, Tap, Taps, init_classifier, init_convolutions, stage
from distillers import Features

# Table 2 of MobileNetV2 with smaller strides: (expansion, channels at width 1, blocks, stride).
MOBILENET_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STAGE_ENDS = (1, 2, 4, 6)  # index in MOBILENET_GROUPS of the last group of each stage
STEM = 24  # channels of a ShuffleNet's first convolution
DEPTHS = (4, 8, 4)  # number of units (residual blocks) in each stage of a ShuffleNet


class InvertedResidual(nn.Module):
    """A 1 x 1 expansion, a depthwise 3 x 3 convolution and a 1 x 1 projection.

    With stride s, the block maps (B, C_in, H, W) to (B, C_out, H/s, W/s).
    """

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
        """Return the projection without ReLU; add x if x and the projection have equal shapes."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """A convolution of stride 2, seven groups of inverted residuals, a 1 x 1 convolution.

    Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018.
    arXiv:1801.04381. There are three differences from the paper. Strides are smaller, for small
    images. ReLU replaces ReLU6. The first group also has an expansion convolution, of factor 1.

    Args:
        classes: number of classes K.
        width: factor for all numbers of channels except the last, which is always 1280.

    """

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        channels = int(32 * width)
        self.conv1 = convolution(3, channels, 3, 2)
        self.blocks = nn.ModuleList()
        for expansion, full, count, stride in MOBILENET_GROUPS:
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
        last = [f"blocks.{i}.{MOBILENET_GROUPS[i][2] - 1}" for i in STAGE_ENDS]
        norms = tuple(f"{block}.conv.7" for block in last)
        self.taps = Taps(Tap("conv1"), tuple(map(Tap, last)), Tap("conv2"), "classifier.0", norms)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S); stages have sides S/2, S/4, S/8 and S/16.

        No ReLU follows a stage, so its map has negative values too.
        """
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
    """Return a convolution, batch normalisation (BN) and ReLU; stride 1 keeps the resolution."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Return x (B, C, H, W) with interleaved groups of channels.

    The first channels of all groups come first, then the second channels of all groups, and so on.
    """
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def three_stages(
    widths: tuple[int, int, int],
    down: Callable[[int, int], nn.Module],
    unit: Callable[[int], nn.Module],
) -> Iterator[nn.Sequential]:
    """Yield the three stages of a ShuffleNet, which has `STEM` channels before the first stage.

    The first unit of a stage, `down(C_in, C_out)`, halves the resolution. All later units are
    `unit(C_out)`. `widths` has C_out for each stage.
    """
    in_channels = STEM
    for out_channels, depth in zip(widths, DEPTHS, strict=True):
        yield stage(down(in_channels, out_channels), partial(unit, out_channels), depth)
        in_channels = out_channels


class GroupUnit(nn.Module):
    """The unit of ShuffleNet V1 (figure 2): 1 x 1, depthwise 3 x 3 and 1 x 1 convolutions.

    With stride 1, the unit adds its input to the result of the convolutions. With stride 2, the
    unit pools its input (3 x 3 average pooling) and appends it to the result as further channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride = stride
        # As in the paper, the first 1 x 1 convolution after the stem has no groups, because the
        # stem has few channels.
        self.groups = 1 if in_channels == STEM else groups
        branch = out_channels - in_channels if stride == 2 else out_channels
        hidden = branch // 4
        self.conv1 = nn.Conv2d(in_channels, hidden, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, branch, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(branch)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's map (B, C_out, H/stride, W/stride), after the last ReLU."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(shuffle(y, self.groups))), inplace=True)
        y = self.bn3(self.conv3(y))
        joined = torch.cat((y, F.avg_pool2d(x, 3, 2, 1)), 1) if self.stride == 2 else y + x
        z: Tensor = self.relu(joined)
        return z


class ShuffleNetV1(nn.Module):
    """A 1 x 1 convolution (the stem) and three stages of `GroupUnit` blocks.

    Zhang et al. ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices. CVPR 2018. arXiv:1707.01083. Unlike in the paper, a ReLU follows the depthwise
    convolution, and the stem keeps the resolution.

    Args:
        classes: number of classes K.
        widths: number of output channels of each stage.
        groups: number of groups of the 1 x 1 convolutions in the units.

    """

    def __init__(self, classes: int, widths: tuple[int, int, int], groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1, self.layer2, self.layer3 = three_stages(
            widths,
            partial(GroupUnit, stride=2, groups=groups),
            lambda width: GroupUnit(width, width, 1, groups),
        )
        self.linear = nn.Linear(widths[2], classes)
        self.relu = nn.ReLU(inplace=True)
        last = [f"layer{i}.{depth - 1}" for i, depth in enumerate(DEPTHS, 1)]
        taps = tuple(Tap(f"{unit}.relu", "input") for unit in last)
        norms = tuple(f"{unit}.bn3" for unit in last)
        self.taps = Taps(Tap("relu"), taps, "last stage", "linear", norms)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): maps of side S/2, S/4 and S/8, after a ReLU."""
        x = self.relu(self.bn1(self.conv1(images)))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        pooled = F.adaptive_avg_pool2d(third, 1).flatten(1)
        return Features((first, second, third), pooled, self.linear(pooled))


class SplitUnit(nn.Module):
    """The basic unit of ShuffleNet V2 (figure 3c).

    Half of the channels pass through convolutions; then both halves are interleaved.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.join = Join()

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape (B, C, H, W)."""
        identity, y = x.chunk(2, 1)
        y = F.relu(self.bn1(self.conv1(y)), inplace=True)
        y = self.bn2(self.conv2(y))
        joined: Tensor = self.join(identity, self.bn3(self.conv3(y)))
        return joined


class Join(nn.Module):
    """The end of `SplitUnit`: a ReLU of the second half; then the halves are interleaved."""

    def forward(self, identity: Tensor, y: Tensor) -> Tensor:
        """Return a map (B, 2 C, H, W) from two maps (B, C, H, W)."""
        return interleave(identity, F.relu(y, inplace=True))


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """Return the channels of two maps (B, C, H, W) in turns, (B, 2 C, H, W)."""
    return shuffle(torch.cat((first, second), 1), 2)


class DownUnit(nn.Module):
    """The downsampling unit of ShuffleNet V2 (figure 3d).

    Two paths with stride 2 process all channels; then the channels of both paths are interleaved.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, 2, 1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv2 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, 2, 1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (B, C_out, H/2, W/2)."""
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))), inplace=True)
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = F.relu(self.bn5(self.conv5(self.bn4(self.conv4(right)))), inplace=True)
        return shuffle(torch.cat((left, right), 1), 2)


class ShuffleNetV2(nn.Module):
    """A 1 x 1 convolution (the stem), three stages of units, a 1 x 1 convolution.

    Ma et al. ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design. ECCV
    2018. arXiv:1807.11164. Unlike the paper's stem, this stem keeps the resolution. Each stage
    has as many units as in ShuffleNet V1.

    Args:
        classes: number of classes K.
        widths: number of output channels of each stage.

    """

    def __init__(self, classes: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1, self.layer2, self.layer3 = three_stages(widths, DownUnit, SplitUnit)
        self.conv2 = nn.Conv2d(widths[2], 1024, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, classes)
        self.relu = nn.ReLU(inplace=True)
        last = [f"layer{i}.{depth - 1}.join" for i, depth in enumerate(DEPTHS, 1)]
        taps = tuple(Tap(join, "input", combine=interleave) for join in last)
        reason = "the batch norm at the end of a stage has half of the stage's channels"
        stem, pooled = Tap("relu"), Tap("relu", call=1)
        self.taps = Taps(stem, taps, pooled, "linear", missing=(("norms", reason),))

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): maps of side S/2, S/4 and S/8."""
        x = self.relu(self.bn1(self.conv1(images)))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        last = self.relu(self.bn2(self.conv2(third)))
        pooled = F.adaptive_avg_pool2d(last, 1).flatten(1)
        return Features((first, second, third), pooled, self.linear(pooled))


NETWORKS: dict[str, Builder] = {
    "mobilenet_v2": partial(MobileNetV2, width=0.5),
    "shufflenet_v1": partial(ShuffleNetV1, widths=(240, 480, 960), groups=3),
    "shufflenet_v2": partial(ShuffleNetV2, widths=(116, 232, 464)),
}
