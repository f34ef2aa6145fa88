"""MobileNet V1 for images of 224 x 224 pixels, a student in papers' experiments on ImageNet."""

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.base import Builder, Tap, Taps, init_convolutions
from bench.models.mobile import convolution
from distillers import Features

# Table 1 of the paper: output channels and stride of each depthwise separable convolution.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
STAGE_ENDS = (3, 5, 11, 13)  # indices in `model`; the stem and the first block end no stage


class MobileNetV1(nn.Module):
    """A convolution of stride 2, 13 depthwise separable convolutions, a linear classifier.

    Howard et al. MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
    Applications. 2017. arXiv:1704.04861. The stages, and the names of the tensors, are those of
    mdistiller's MobileNetV1; DIST's code has the same network. As in DIST's code, convolutions
    start from a normal distribution (`init_convolutions`), and the classifier from a uniform one,
    here PyTorch's default.

    Args:
        classes: number of classes K.

    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = nn.Sequential(convolution(3, 32, 3, 2))
        channels = 32
        for out_channels, stride in BLOCKS:
            self.model.append(separable(channels, out_channels, stride))
            channels = out_channels
        self.fc = nn.Linear(channels, classes)
        init_convolutions(self)
        taps = tuple(Tap(f"model.{i}.4") for i in STAGE_ENDS)
        norms = tuple(f"model.{i}.4" for i in STAGE_ENDS)
        self.taps = Taps(Tap("model.1"), taps, "last stage", "fc", norms)

    def forward(self, images: Tensor) -> Features:
        """Return features of images (B, 3, S, S): maps of side S/4, S/8, S/16, S/32, after a ReLU.

        Maps of side S/2 are not returned.
        """
        x, stages = images, []
        for index, block in enumerate(self.model):
            x = block(x)
            if index in STAGE_ENDS:
                stages.append(x)
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return Features(tuple(stages), pooled, self.fc(pooled))


def separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return a depthwise 3 x 3 and a 1 x 1 convolution, each with BN and ReLU."""
    depthwise = convolution(in_channels, in_channels, 3, stride, in_channels)
    return nn.Sequential(*depthwise, *convolution(in_channels, out_channels, 1))


NETWORKS: dict[str, Builder] = {"mobilenet_v1": MobileNetV1}
