"""Knowledge review: maps fused from deep to shallow predict the teacher's maps of all stages."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm
from distillers.base import Batch, Distiller, Features, Incompatible, Setting, Width

SCALES = (4, 2, 1)  # sides of the pooled maps of the hierarchical loss


class ReviewKD(Distiller):
    """L = Σ_l HCL(o_l, f_l), HCL(o, f) = Σ_m w_m mean (pool_m(o) - pool_m(f))² / Σ_m w_m.

    The levels l are the stages and one deeper level, the pooled features as a map of 1 x 1. f_l (B,
    C_t, H_t, W_t) is the teacher's map of a level; the map of a stage is read before its last ReLU.
    o_l is the student's prediction of f_l. The predictions are computed from the deepest level up:
    1. x = N(conv1x1(s_l)) (B, M, H_s, W_s). s_l is the student's map of the level; the map of a
       stage is read after its last ReLU. M = min(512, D_s) for D_s pooled features. N is batch
       norm.
    2. Except at the deepest level, x ← a_1 x + a_2 r. r is the result of step 3 at the next deeper
       level, resized to H_s x W_s. (a_1, a_2) = sigmoid(conv1x1([x, r])) are two maps of weights,
       computed from the concatenated channels of x and r.
    3. x is resized to H_t x W_t by nearest neighbour.
    4. o_l = N(conv3x3(x)).
    The first scale m of HCL compares entire maps, with w_m = 1. Further scales compare maps that
    pool_m averages to 4 x 4, 2 x 2 and 1 x 1, if the maps are larger. Each of these scales has half
    the weight of the previous scale.

    Source: the paper's attention-based fusion and hierarchical context loss, as the authors' code
    (dvlab-research/ReviewKD) and mdistiller (the code of DKD's authors) compute them. In both
    codes, the loss's weight grows in the first 20 epochs; in a suite, `warmup: 20` does the same.
    Unlike the authors' code, the maps need not be squares, and the option `channels` has an effect.
    A batch with one value per channel is normalised by the running mean and variance.

    Args:
        setting: The two networks' shapes; both need the same number of stages.
        channels: The upper limit of M, from 1 to 65536; 512 by default.

    Raises:
        Incompatible: The networks have different numbers of stages.
    """

    paper = (
        "Chen, Liu, Zhao, Jia. Distilling Knowledge via Knowledge Review. CVPR 2021. "
        "arXiv:2104.09044"
    )
    formula = (
        r"L = \sum_l \operatorname{HCL}(o_l, f_l)",
        r"\operatorname{HCL}(o, f) = \frac{\sum_m w_m \operatorname{mean} \, ( "
        r"\operatorname{pool}_m(o) - \operatorname{pool}_m(f) )^2}{\sum_m w_m}",
    )
    reads = ("stages", "pooled")
    teacher_reads = ("preactivations", "pooled")

    def __init__(self, setting: Setting, *, channels: Width = 512) -> None:
        super().__init__(setting)
        s, t = setting.student, setting.teacher
        if len(s.stages) != len(t.preactivations):
            counts = f"{len(s.stages)} stages, the teacher {len(t.preactivations)}"
            raise Incompatible(f"the student has {counts}. Allowed: equal numbers")
        middle = min(channels, s.pooled)
        inputs = [s.pooled, *(c for c, _, _ in reversed(s.stages))]
        outputs = [t.pooled, *(c for c, _, _ in reversed(t.preactivations))]
        self.levels = nn.ModuleList(
            Fusion(c_s, middle, c_t, fuse=depth > 0)
            for depth, (c_s, c_t) in enumerate(zip(inputs, outputs, strict=True))
        )

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the sum of the hierarchical losses of all levels."""
        sources = [student.pooled[:, :, None, None], *reversed(student.stages)]
        targets = [teacher.pooled[:, :, None, None], *reversed(teacher.preactivations)]
        carried: Tensor | None = None
        losses = []
        for level, source, target in zip(self.levels, sources, targets, strict=True):
            output, carried = level(source, carried, target.shape[2:])
            losses.append(hierarchical_loss(output, target))
        return torch.stack(losses).sum()


class Fusion(nn.Module):
    """One level: fuses a map of the student with the next deeper level's map.

    Args:
        inputs: The channels of the student's map.
        middle: M, the channels of the maps that are fused.
        outputs: The channels of the teacher's map.
        fuse: Whether there is a deeper level.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, *, fuse: bool) -> None:
        super().__init__()
        reduce = nn.Conv2d(inputs, middle, 1, bias=False)
        predict = nn.Conv2d(middle, outputs, 3, padding=1, bias=False)
        for layer in (reduce, predict):
            nn.init.kaiming_uniform_(layer.weight, a=1)  # as in the authors' code
        self.reduce = nn.Sequential(reduce, BatchNorm(middle))
        self.predict = nn.Sequential(predict, BatchNorm(outputs))
        self.attention = nn.Conv2d(2 * middle, 2, 1) if fuse else None

    def forward(
        self, source: Tensor, deeper: Tensor | None, size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return the predicted map (B, C_t, H_t, W_t) and the fused map (B, M, H_t, W_t).

        Args:
            source: The student's map, (B, C_s, H_s, W_s).
            deeper: The fused map of the next deeper level; None at the deepest level.
            size: The height and width of the teacher's map.
        """
        x = self.reduce(source)
        if self.attention is not None and deeper is not None:
            deeper = _resize(deeper, x.shape[2:])
            weights = self.attention(torch.cat([x, deeper], 1)).sigmoid()  # (B, 2, H_s, W_s)
            x = x * weights[:, :1] + deeper * weights[:, 1:]
        x = _resize(x, size)
        return self.predict(x), x


def hierarchical_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the hierarchical context loss HCL of two maps (B, C, H, W), a scalar."""
    errors = [F.mse_loss(output, target)]
    for side in SCALES:
        if side < min(target.shape[2:]):
            a, b = (F.adaptive_avg_pool2d(x, side) for x in (output, target))
            errors.append(F.mse_loss(a, b))
    weights = [0.5**step for step in range(len(errors))]
    weighted = [weight * error for weight, error in zip(weights, errors, strict=True)]
    return torch.stack(weighted).sum() / sum(weights)


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a map (B, C, H, W) to a height and a width by nearest neighbour."""
    return x if x.shape[2:] == tuple(size) else F.interpolate(x, list(size), mode="nearest")
