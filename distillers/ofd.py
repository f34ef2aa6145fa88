"""OFD: match the maps before the ReLU, with a margin in place of strongly negative values."""

import math

import torch
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm
from distillers._maps import pool
from distillers.base import Affine, Batch, Distiller, Features, Incompatible, Setting

RARE = 0.001  # if negative values are at most this probable, the margin is -3|γ|


class OFD(Distiller):
    """L = 1/B · Σ_l 2^(l-S) Σ (r_l(s_l) - v_l)² [r_l(s_l) > v_l or t_l > 0], v_l = max(t_l, m_l).

    s_l, t_l (B, C, H, W) are the student's and the teacher's map of stage l = 1…S before the ReLU.
    The inner sum is over samples, channels and positions, so the loss grows with the size of the
    maps. [...] is 1 where the condition holds and 0 elsewhere. The connector r_l is a trained
    convolution of 1 x 1 without bias, followed by a batch norm. r_l maps s_l to the channels of
    t_l. t_l is average-pooled to the size of s_l; if t_l is smaller, the values of t_l are
    repeated.

    The margin m_l (C,) is the mean of the negative values of a normal distribution. The mean β and
    the standard deviation |γ| of this distribution are the shift and the scale of the batch norm
    before the teacher's ReLU: m = β - |γ| φ(β/γ) / Φ(-β/|γ|), with the density φ and the
    distribution function Φ of N(0, 1). If Φ(-β/|γ|) is at most 0.001, m = -3|γ|. In a residual
    stage, the batch norm precedes the addition, so the margin is an approximation.

    Source: the paper; mdistiller (the code of DKD's authors) for the connector, the connector's
    initial weights and the mean over samples.
    The authors' code divides the sum by B and by 1000; the method `ofd` has the weight 0.001
    instead.
    Unlike in the authors' code and mdistiller, the teacher is in evaluation mode. In both codes,
    the teacher is in training mode: its batch norms use the statistics of each batch, and their
    running means change.
    Unlike mdistiller, networks with different numbers of stages are refused.

    Args:
        setting: The two networks' shapes.

    Raises:
        Incompatible: The networks have different numbers of stages before a ReLU, or the teacher
            has no batch norm there.
    """

    paper = (
        "Heo, Kim, Yun, Park, Kwak, Choi. A Comprehensive Overhaul of Feature Distillation. "
        "ICCV 2019. arXiv:1904.01866"
    )
    formula = (
        r"L = \frac{1}{B} \sum_l 2^{l-S} \sum ( r_l(s_l) - v_l )^2 \, [ r_l(s_l) > v_l \text{ "
        r"or } t_l > 0 ], \quad v_l = \max(t_l, m_l)",
        r"m = \beta - |\gamma| \frac{\varphi(\beta / \gamma)}{\Phi(-\beta / |\gamma|)}",
    )
    reads = ("preactivations",)
    teacher_reads = ("preactivations", "norms")

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        s = [shape[0] for shape in setting.student.preactivations]
        t = [shape[0] for shape in setting.teacher.preactivations]
        if len(s) != len(t) or not s:
            raise Incompatible(
                f"the student has {len(s)} stages with a map before the ReLU, the teacher "
                f"{len(t)}: the numbers must be equal and above 0"
            )
        if list(setting.teacher.norms) != t:
            raise Incompatible(
                f"the batch norms before the teacher's ReLUs have {[*setting.teacher.norms]} "
                f"channels, the maps {t}: the numbers must be equal"
            )
        self.connectors = nn.ModuleList(map(_connector, s, t))

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return L, the weighted sum over stages, divided by B."""
        stages = zip(
            self.connectors,
            student.preactivations,
            teacher.preactivations,
            teacher.norms,
            strict=True,
        )
        distances = [
            _distance(connect(s), pool(t, (s.shape[2], s.shape[3])), margin(norm))
            for connect, s, t, norm in stages
        ]
        weighted = [d / 2**later for later, d in enumerate(reversed(distances))]
        return torch.stack(weighted).sum() / len(student.preactivations[0])


def margin(norm: Affine) -> Tensor:
    """Return the margin m (C,) for a batch norm with scale γ and shift β, each (C,)."""
    assert norm.bias is not None
    deviation = norm.weight.abs().clamp(min=1e-12)  # avoids 0 / 0 for a channel with scale 0
    ratio = norm.bias / deviation
    negative = torch.special.ndtr(-ratio)
    density = (-ratio.square() / 2).exp() / math.sqrt(2 * math.pi)
    mean = norm.bias - deviation * density / negative.clamp(min=RARE)
    return torch.where(negative > RARE, mean, -3 * deviation)


def _distance(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    target = torch.maximum(teacher, margin[:, None, None])
    counts = (student > target) | (teacher > 0)
    return torch.where(counts, (student - target).square(), 0).sum()


def _connector(channels: int, target: int) -> nn.Module:
    convolution = nn.Conv2d(channels, target, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, BatchNorm(target))
