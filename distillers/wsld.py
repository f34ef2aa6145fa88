"""Weighted soft labels: samples that the student fits better than the teacher count less."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features, Positive, Setting

EPSILON = 1e-7  # avoids a division by 0: if the teacher's error c_t is 0, w is almost always 1


class WSLD(Distiller):
    """L = T² · mean_i w_i H(softmax(z_t / T)_i, softmax(z_s / T)_i), w = 1 - exp(-c_s / (c_t + ε)).

    z_s, z_t (B, K) are the logits of the student and the teacher, T is the temperature, H the
    cross-entropy. c_s, c_t (B,) are the cross-entropies of the logits with the labels, without a
    temperature, and ε is 1e-7. The weight w has no gradient.
    The loss is not 0 if the student equals the teacher: w also weights the teacher's entropy.

    Source: the paper's weighted soft labels; the authors' code for 1e-7, and its issue 2 for T.
    The port in giakoumoglou/distillers uses T = 0.07, the temperature of its contrastive losses.

    Args:
        setting: Not used, since the loss has no parameters.
        temperature: T, above 0; 4 by default, the authors' value on CIFAR-100 (2 on ImageNet).
    """

    paper = (
        "Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang. Rethinking Soft Labels for Knowledge "
        "Distillation: A Bias-Variance Tradeoff Perspective. ICLR 2021. arXiv:2102.00650"
    )
    formula = (
        r"L = T^2 \operatorname{mean}_i w_i \operatorname{H} ( \operatorname{softmax}(z_t / "
        r"T)_i, \operatorname{softmax}(z_s / T)_i )",
        r"w = 1 - \exp \left( -\frac{c_s}{c_t + \varepsilon} \right)",
    )
    reads = ("logits",)
    needs_labels = True

    def __init__(self, setting: Setting, *, temperature: Positive = 4.0) -> None:
        super().__init__(setting)
        self.temperature = temperature

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted cross-entropy with the soft targets over the batch, times T²."""
        c_s, c_t = (
            F.cross_entropy(x.logits.detach(), batch.labels, reduction="none")
            for x in (student, teacher)
        )
        weight = -torch.expm1(-c_s / (c_t + EPSILON))
        target = (teacher.logits / self.temperature).softmax(dim=1)
        loss = F.cross_entropy(student.logits / self.temperature, target, reduction="none")
        return (weight * loss).mean() * self.temperature**2
