"""Variational information distillation: predict the teacher's maps with a learned uncertainty."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._maps import paired, same_size
from distillers.base import Batch, Distiller, Features, Setting

INITIAL_VARIANCE = 5.0
MIN_VARIANCE = 1e-5


class VID(Distiller):
    """L = Σ_stages mean ½ [(μ - f_t)² / v + log v], μ = r(f_s), v = softplus(ρ) + 1e-5.

    f_s (B, C_s, H, W), f_t (B, C_t, H, W) are the feature maps of one stage. Maps of different
    sizes are first average-pooled to the smaller height and the smaller width. The regressor r
    predicts the mean μ of the teacher's map. It has three trained 1 x 1 convolutions of width C_t
    without bias, with ReLUs between the convolutions. ρ (C_t,) is a trained parameter that sets one
    variance v for each channel of the teacher, initially 5. The mean in L is over samples, channels
    and positions. The loss can be negative, since log v is negative for v < 1.

    Source: the Gaussian bound of the paper without its constant term, with the regressors, the
    parametrised variances and the means of RepDistiller.
    Unlike RepDistiller, softplus does not overflow for ρ > 88.

    Args:
        setting: The two networks' shapes; both need the same number of stages.

    Raises:
        Incompatible: The networks have different numbers of stages.
    """

    paper = (
        "Ahn, Hu, Damianou, Lawrence, Dai. Variational Information Distillation for Knowledge "
        "Transfer. CVPR 2019. arXiv:1904.05835"
    )
    formula = (
        r"L = \sum_{\text{stages}} \operatorname{mean} \, \frac{1}{2} \left[ \frac{(\mu - "
        r"f_t)^2}{v} + \log v \right]",
        r"\mu = r(f_s), \quad v = \operatorname{softplus}(\rho) + 10^{-5}",
    )
    reads = ("stages",)

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        pairs = paired(setting.student.stages, setting.teacher.stages)
        self.regressors = nn.ModuleList(_regressor(s[0], t[0]) for s, t in pairs)
        start = math.log(math.expm1(INITIAL_VARIANCE - MIN_VARIANCE))  # the inverse of softplus
        self.scales = nn.ParameterList(torch.full((t[0],), start) for _, t in pairs)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum over stages of the mean negative log-likelihood, without ½ log 2π."""
        losses = []
        stages = zip(student.stages, teacher.stages, strict=True)
        for (s, t), regress, scale in zip(stages, self.regressors, self.scales, strict=True):
            source, target = same_size(s, t)
            variance = (F.softplus(scale) + MIN_VARIANCE)[:, None, None]  # (C_t, 1, 1)
            squared = (regress(source) - target).square()
            losses.append((squared / variance + variance.log()).mean() / 2)
        return torch.stack(losses).sum()


def _regressor(student: int, teacher: int) -> nn.Sequential:
    """Return three 1 x 1 convolutions from the student's channels to the teacher's."""
    return nn.Sequential(
        nn.Conv2d(student, teacher, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher, teacher, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher, teacher, 1, bias=False),
    )
