"""Attention transfer: the student looks where the teacher looks, stage by stage."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers._base import Batch, Distiller, Features, Incompatible, Setting
from distillers._maps import to_smaller
from distillers._options import Positive


class AT(Distiller):
    """L = Σ_stages mean (a_s - a_t)², a = vec(mean_c |f_c|^p), brought to length 1.

    f is a stage's map with channels c, p the `power`; the mean is over samples and places. The
    larger of two maps is average-pooled to the smaller before.
    Unlike the paper, which adds norms of differences, squares are averaged: RepDistiller's scale,
    to which the weight 1000 belongs.
    """

    paper = "Zagoruyko, Komodakis. Paying More Attention to Attention. ICLR 2017. arXiv:1612.03928"
    reads = ("stages",)

    def __init__(self, setting: Setting, *, power: Positive = 2.0) -> None:
        super().__init__(setting)
        s, t = len(setting.student.stages), len(setting.teacher.stages)
        if s != t:
            raise Incompatible(f"the student has {s} stages, the teacher {t}: they do not pair up")
        self.power = power

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The sum over stages of the mean squared difference of attention."""
        pairs = [to_smaller(s, t) for s, t in zip(student.stages, teacher.stages, strict=True)]
        losses = [F.mse_loss(self.attention(s), self.attention(t)) for s, t in pairs]
        return torch.stack(losses).sum()

    def attention(self, stage: Tensor) -> Tensor:
        """How active each place of stage (B, C, H, W) is: (B, H·W), rows of length 1."""
        raised = stage.square() if self.power == 2 else stage.abs().pow(self.power)
        return F.normalize(raised.mean(1).flatten(1), dim=1)
