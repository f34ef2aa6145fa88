"""Softmax regression: the teacher's classifier reads the student's transformed features."""

import torch.nn.functional as F
from torch import Tensor, nn

from distillers._batch_norm import BatchNorm
from distillers.base import Batch, Distiller, Features, NonNegative, Setting


class SRRL(Distiller):
    """L = mean (φ(h_s) - h_t)² + w · mean (W_t φ(h_s) + b_t - z_t)².

    h_s (B, D_s), h_t (B, D_t) are the pooled features, z_t (B, K) the teacher's logits. φ, a
    trained linear layer with batch norm and ReLU, maps h_s to D_t features. W_t (K, D_t) and b_t
    are the parameters of the teacher's classifier, which do not learn. The first mean is over
    samples and features; the second is over samples and classes.

    Source: the losses of the paper, as SimKD's code (DefangChen/SimKD) ports them; most published
    tables use this port.
    Unlike the authors' code, which transforms the last feature map before pooling, φ transforms the
    pooled features, as in the port. Batch norm therefore averages over B values per channel, not
    B·H·W.
    A batch of one sample is normalised by the running mean and variance.
    According to the authors, the weights of both terms were chosen for each pair of networks, but
    these weights were not kept (issue 3 of jingyang2017/KD_SRRL).

    Args:
        setting: The two networks' shapes.
        regression: w, at least 0; 1 by default.
    """

    paper = (
        "Yang, Martinez, Bulat, Tzimiropoulos. Knowledge Distillation via Softmax Regression "
        "Representation Learning. ICLR 2021. openreview.net/forum?id=ZzwDy_wiWv"
    )
    formula = (
        r"L = \operatorname{mean} \, ( \varphi(h_s) - h_t )^2 + w \operatorname{mean} \, ( W_t "
        r"\varphi(h_s) + b_t - z_t )^2",
    )
    reads = ("pooled",)
    teacher_reads = ("pooled", "classifier", "logits")

    def __init__(self, setting: Setting, *, regression: NonNegative = 1.0) -> None:
        super().__init__(setting)
        self.regression = regression
        width = setting.teacher.pooled
        linear = nn.Linear(setting.student.pooled, width, bias=False)
        self.transfer = nn.Sequential(linear, BatchNorm(width), nn.ReLU())

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean squared error of the features plus w times that of the logits."""
        transformed = self.transfer(student.pooled)  # (B, D_t)
        logits = F.linear(transformed, teacher.classifier.weight, teacher.classifier.bias)
        feature = F.mse_loss(transformed, teacher.pooled)
        return feature + self.regression * F.mse_loss(logits, teacher.logits)
