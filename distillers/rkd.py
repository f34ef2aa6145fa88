"""Relational knowledge distillation: match the distances and angles between samples."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features, NonNegative, Setting

EPSILON = 1e-12  # samples at a smaller squared distance are treated as equal


class RKD(Distiller):
    """L = w_d · mean_ij h(d_s, d_t)_ij + w_a · mean_ijk h(∠_s, ∠_t)_ijk.

    d (B, B) holds the Euclidean distances between the samples' pooled features (B, D), divided by
    the mean distance. ∠ (B, B, B) holds, at [i, j, k], the cosine of the angle at sample i between
    the directions to samples j and k. h is the Huber loss with threshold 1. Shifting, rotating or
    rescaling the features does not change the loss. Pairs of samples with equal features are left
    out of the mean distance and pass no gradient.

    Source: the distance-wise and angle-wise losses of the paper, as in RepDistiller.

    Args:
        setting: Not used, since the loss has no parameters.
        distance: w_d, at least 0; 25 by default, as in the CRD paper.
        angle: w_a, at least 0; 50 by default, as in the CRD paper.
    """

    paper = "Park, Kim, Lu, Cho. Relational Knowledge Distillation. CVPR 2019. arXiv:1904.05068"
    formula = (
        r"L = w_d \operatorname{mean}_{ij} h(d_s, d_t)_{ij} + w_a \operatorname{mean}_{ijk} "
        r"h(\angle_s, \angle_t)_{ijk}",
    )
    reads = ("pooled",)
    relational = True

    def __init__(
        self, setting: Setting, *, distance: NonNegative = 25.0, angle: NonNegative = 50.0
    ) -> None:
        super().__init__(setting)
        self.distance, self.angle = distance, angle

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted sum of the distance loss and the angle loss."""
        (d_s, a_s), (d_t, a_t) = _relations(student.pooled), _relations(teacher.pooled)
        return self.distance * F.smooth_l1_loss(d_s, d_t) + self.angle * F.smooth_l1_loss(a_s, a_t)


def _relations(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scaled distances (B, B) and the cosines (B, B, B) of pooled features (B, D)."""
    difference = pooled[None] - pooled[:, None]  # (B, B, D)
    squared = difference.square().sum(-1)
    distinct = (squared > EPSILON).to(pooled.dtype)
    length = squared.clamp(min=EPSILON).sqrt()
    distance = length * distinct
    mean = distance.sum() / distinct.sum().clamp(min=1)
    direction = difference * (distinct / length)[..., None]
    cosine = direction @ direction.transpose(1, 2)
    return distance / mean.clamp(min=EPSILON), cosine
