"""Relational knowledge distillation: match the distances and angles between samples."""

import torch.nn.functional as F
from torch import Tensor

from distillers._base import Batch, Distiller, Features, Setting
from distillers._options import AtLeast0

SAME = 1e-12  # samples closer than the root of this are one point: no distance, no direction


class RKD(Distiller):
    """L = w_d · mean_ij h(d_s, d_t)_ij + w_a · mean_ijk h(∠_s, ∠_t)_ijk.

    d_ij are the distances between pooled features over their mean, ∠_ijk the cosine at sample i
    of the angle between j and k, h the Huber loss with threshold 1. w_d = `distance`,
    w_a = `angle`, 25 and 50 in the papers' tables. Shifts, rotations and scale of the features
    do not matter. Pairs of equal samples count in no mean of distances and pass no gradient.
    """

    paper = "Park, Kim, Lu, Cho. Relational Knowledge Distillation. CVPR 2019. arXiv:1904.05068"
    reads = ("pooled",)

    def __init__(
        self, setting: Setting, *, distance: AtLeast0 = 25.0, angle: AtLeast0 = 50.0
    ) -> None:
        super().__init__(setting)
        self.distance, self.angle = distance, angle

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The weighted sum of the distance and the angle loss."""
        (d_s, a_s), (d_t, a_t) = relations(student.pooled), relations(teacher.pooled)
        return self.distance * F.smooth_l1_loss(d_s, d_t) + self.angle * F.smooth_l1_loss(a_s, a_t)


def relations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Distances between the samples of x (B, D) over their mean (B, B); cosines (B, B, B).

    The cosine [i, j, k] is that of the angle at sample i between samples j and k.
    """
    difference = x[None] - x[:, None]  # (B, B, D)
    squared = difference.square().sum(-1)
    apart = (squared > SAME).to(x.dtype)
    length = squared.clamp(min=SAME).sqrt()
    distance = length * apart
    mean = distance.sum() / apart.sum().clamp(min=1)
    unit = difference * (apart / length)[..., None]
    return distance / mean.clamp(min=SAME), unit @ unit.transpose(1, 2)
