"""Activation boundaries: before training, learn on which side of 0 the teacher's neurons are."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillers._maps import MapShape, paired, resizer
from distillers.base import (
    Batch,
    Count,
    Distiller,
    Features,
    Positive,
    Pretraining,
    Setting,
)

SCALE = 3 / 1000  # factor of the loss in RepDistiller


class AB(Distiller):
    """L = 0.003 / B · Σ_l 2^(l-S) Σ_icxy max(0, m - σ s)², σ = 1 if t > 0, -1 if not.

    f_s and t (B, C, H, W) are the student's and the teacher's map of stage l = 1…S before the ReLU;
    i is a sample, c a channel, x, y a position. s = r(f_s) (B, C, H, W): the connector r, a trained
    convolution with batch norm, maps f_s to the teacher's shape. Where the shapes are equal, r is
    the identity. m is the margin: a student's neuron adds no loss if its value is beyond m on the
    teacher's side of 0. The loss is a sum over neurons, so it grows with the size of the maps.

    The loss is minimised in a stage before training, with a constant learning rate. This stage
    trains the connectors and the student's layers before its classifier. The connectors are then
    dropped, and this distiller adds no loss to the training.

    Source: the paper, with the factors, the connectors and the stage before training of
    RepDistiller.
    Unlike in RepDistiller, the optimiser of this stage also holds the student's classifier. The
    classifier gets no gradient, so it does not change.

    Args:
        setting: The two networks' shapes; both need the same number of stages.
        margin: m, above 0; 1 by default.
        pretraining_epochs: The epochs of the stage before training, at least 1; 30 by default.

    Raises:
        Incompatible: The networks have different numbers of stages, or no connector fits the sizes
            of two maps.
    """

    paper = (
        "Heo, Lee, Yun, Choi. Knowledge Transfer via Distillation of Activation Boundaries Formed "
        "by Hidden Neurons. AAAI 2019. arXiv:1811.03233"
    )
    formula = (
        r"L = \frac{0.003}{B} \sum_l 2^{l-S} \sum_{i,c,x,y} \max(0, m - \sigma s)^2",
        r"\sigma = \begin{cases} 1 & t > 0 \\ -1 & \text{otherwise} \end{cases}",
    )
    reads = ("preactivations",)

    def __init__(
        self, setting: Setting, *, margin: Positive = 1.0, pretraining_epochs: Count = 30
    ) -> None:
        super().__init__(setting)
        self.margin = margin
        pairs = paired(setting.student.preactivations, setting.teacher.preactivations)
        self.connectors = nn.ModuleList(_connector(s, t) for s, t in pairs)
        self.pretraining = Pretraining(pretraining_epochs, parameters=("connectors",), only=True)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return L, the weighted sum over stages of max(0, m - σ s)²."""
        losses = []
        stages = zip(student.preactivations, teacher.preactivations, strict=True)
        for (s, t), connect in zip(stages, self.connectors, strict=True):
            side = torch.where(t > 0, 1.0, -1.0)
            losses.append(F.relu(self.margin - side * connect(s)).square().sum())
        weights = [2.0 ** (index + 1 - len(losses)) for index in range(len(losses))]
        total = torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()
        return SCALE * total / len(student.preactivations[0])


def _connector(student: MapShape, teacher: MapShape) -> nn.Module:
    if student == teacher:
        return nn.Identity()
    return nn.Sequential(resizer(student, teacher), nn.BatchNorm2d(teacher[0]))
