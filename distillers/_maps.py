"""Operations on feature maps that several distillers share."""

import torch.nn.functional as F
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm


def same_size(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool two feature maps (B, C, H, W) to the smaller height and the smaller width."""
    size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
    return pool(a, size), pool(b, size)


def pool(stage: Tensor, size: tuple[int, int]) -> Tensor:
    """Average-pool a feature map (B, C, H, W) to a height and a width."""
    return stage if stage.shape[2:] == size else F.adaptive_avg_pool2d(stage, size)


def bottleneck(channels: int, inner: int, outer: int) -> list[nn.Module]:
    """Return convolutions of 1 x 1, 3 x 3 and 1 x 1 from `channels` to `inner` to `outer` channels.

    They have no bias. A batch norm and a ReLU follow the first two of them.
    """
    return [
        nn.Conv2d(channels, inner, kernel_size=1, bias=False),
        BatchNorm(inner),
        nn.ReLU(),
        nn.Conv2d(inner, inner, kernel_size=3, padding=1, bias=False),
        BatchNorm(inner),
        nn.ReLU(),
        nn.Conv2d(inner, outer, kernel_size=1, bias=False),
    ]
