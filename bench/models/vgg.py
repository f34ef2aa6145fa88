"""VGG with batch normalisation (BN) for 32 x 32 images: five stages and one linear classifier."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.base import Builder, Tap, Taps, init_classifier, init_convolutions
from distillers import Features

WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of 3 x 3 convolutions; 2 x 2 max pooling after each of the first three.

    Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR
    2015. arXiv:1409.1556. There are three differences from the paper. BN follows each convolution.
    One linear layer follows global average pooling. Max pooling comes before the fifth stage only
    if images have 64 x 64 pixels or more.

    Args:
        classes: number of classes K.
        depths: number of convolutions in each stage.

    """

    def __init__(self, classes: int, depths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        self.block0 = plain_stage(3, WIDTHS[0], depths[0])
        self.block1 = plain_stage(WIDTHS[0], WIDTHS[1], depths[1])
        self.block2 = plain_stage(WIDTHS[1], WIDTHS[2], depths[2])
        self.block3 = plain_stage(WIDTHS[2], WIDTHS[3], depths[3])
        self.block4 = plain_stage(WIDTHS[3], WIDTHS[4], depths[4])
        self.classifier = nn.Linear(WIDTHS[4], classes)
        init_convolutions(self)
        init_classifier(self.classifier)
        self.relu = nn.ReLU(inplace=True)
        last = [f"block{i}" for i in range(1, 5)]  # blocks without their last ReLU
        norms = tuple(f"block{i}.{3 * depths[i] - 2}" for i in range(1, 5))
        taps = tuple(map(Tap, last))
        self.taps = Taps(Tap("relu"), taps, "last stage", "classifier", norms)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): maps of side S/2, S/4, S/8, S/8, after a ReLU.

        If S is 64 or more, the last side is S/16. The first stage, of side S, is not returned.
        """
        stem = self.relu(self.block0(images))
        first = F.relu(self.block1(F.max_pool2d(stem, 2)), inplace=True)
        second = F.relu(self.block2(F.max_pool2d(first, 2)), inplace=True)
        third = F.relu(self.block3(F.max_pool2d(second, 2)), inplace=True)
        halved = F.max_pool2d(third, 2) if images.shape[-1] >= 64 else third
        fourth = F.relu(self.block4(halved), inplace=True)
        pooled = F.adaptive_avg_pool2d(fourth, 1).flatten(1)
        return Features((first, second, third, fourth), pooled, self.classifier(pooled))


def plain_stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    """Return `depth` 3 x 3 convolutions, each with BN and ReLU; the last ReLU is omitted."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


NETWORKS: dict[str, Builder] = {
    "vgg8": partial(VGG, depths=(1, 1, 1, 1, 1)),
    "vgg11": partial(VGG, depths=(1, 1, 2, 2, 2)),
    "vgg13": partial(VGG, depths=(2, 2, 2, 2, 2)),
    "vgg16": partial(VGG, depths=(2, 2, 3, 3, 3)),
    "vgg19": partial(VGG, depths=(2, 2, 4, 4, 4)),
}
