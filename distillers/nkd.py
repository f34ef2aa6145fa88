"""Normalised distillation: separate soft labels for the true class and for all other classes."""

import torch.nn.functional as F
from torch import Tensor

from distillers._logits import require_three_classes, without_true_class
from distillers.base import Batch, Distiller, Features, NonNegative, Positive, Setting


class NKD(Distiller):
    """L = -mean_i [q_y log p_y + γ T² Σ_k≠y n_t,k log n_s,k]_i.

    p and q (B, K) are the softmax of the logits of the student and the teacher, without a
    temperature; y (B,) are the labels. n (B, K-1) is the softmax of a network's logits, divided by
    the temperature T, over the K - 1 classes other than the true one.
    Both terms are cross-entropies: the loss is not 0 if the student equals the teacher.

    Source: the paper's normalised loss, and the authors' code (cls_KD) for T² and the defaults. The
    paper's cross-entropy with the labels is left out here; the method `nkd` adds the distiller
    `ce`.

    Args:
        setting: The number of classes.
        gamma: γ, at least 0; 3.5 by default, as the authors' code on CIFAR-100 (1.5 on ImageNet).
        temperature: T, above 0; 3 by default, as the authors' code on CIFAR-100 (1 on ImageNet).

    Raises:
        Incompatible: The data set has fewer than three classes, so that n is constant.
    """

    paper = (
        "Yang, Zeng, Li, Zhang, Yuan, Li. From Knowledge Distillation to Self-Knowledge "
        "Distillation: A Unified Approach with Normalized Loss and Customized Soft Labels. "
        "ICCV 2023. arXiv:2303.13005"
    )
    formula = (
        r"L = -\operatorname{mean}_i \left[ q_y \log p_y + \gamma T^2 \sum_{k \neq y} n_{t,k} "
        r"\log n_{s,k} \right]_i",
    )
    reads = ("logits",)
    needs_labels = True

    def __init__(
        self, setting: Setting, *, gamma: NonNegative = 3.5, temperature: Positive = 3.0
    ) -> None:
        super().__init__(setting)
        require_three_classes(setting, "the classes other than the true one are compared")
        self.gamma, self.temperature = gamma, temperature

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted sum of the two cross-entropies, averaged over the batch."""
        q_true = (-F.cross_entropy(teacher.logits, batch.labels, reduction="none")).exp()
        true = q_true * F.cross_entropy(student.logits, batch.labels, reduction="none")
        n_s, n_t = (
            without_true_class(x.logits / self.temperature, batch.labels)
            for x in (student, teacher)
        )
        others = -(n_t.softmax(dim=1) * n_s.log_softmax(dim=1)).sum(dim=1)
        return (true + self.gamma * self.temperature**2 * others).mean()
