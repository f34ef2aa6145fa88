"""What several distillers do to maps."""

import torch.nn.functional as F
from torch import Tensor


def to_smaller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps (B, C, H, W), the larger average-pooled to the smaller's height and width."""
    size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
    return pooled(a, size), pooled(b, size)


def pooled(stage: Tensor, size: tuple[int, int]) -> Tensor:
    """The stage averaged to the size; itself where it has that size."""
    return stage if stage.shape[2:] == size else F.adaptive_avg_pool2d(stage, size)
