"""Decoupled distillation: the true class and the other classes are two separate terms."""

import torch
import torch.nn.functional as F
from torch import Tensor

from distillers._logits import (
    divergence,
    require_standardisable,
    require_three_classes,
    standardised,
    without_true_class,
)
from distillers.base import Batch, Distiller, Features, NonNegative, Positive, Setting


class DKD(Distiller):
    """L = T² · mean_i [α KL(b_t ‖ b_s) + β KL(n_t ‖ n_s)]_i.

    p (B, K) is the softmax of a network's logits divided by the temperature T, and y (B,) are the
    labels. b = (p_y, 1 - p_y) holds the probabilities of the true class and of all other classes
    together. n (B, K-1) is the softmax over the K - 1 other classes. s is the student, t the
    teacher. With `standardise`, both networks' logits are first standardised, as in `kd`.

    Source: the paper's weighted sum; the authors' code (mdistiller) for T² and the defaults. The
    paper calls the term with α TCKD, and the term with β NCKD.
    The authors raise the weight of the loss linearly over the first 20 epochs; in a suite,
    `warmup: 20` does the same.
    Unlike the authors' code, which takes logarithms of rounded probabilities, this file computes
    log p_y and log (1 - p_y) from the logits by log-sum-exp. These logarithms therefore stay finite
    if p_y rounds to 1. As the teacher's p_y approaches 1, the loss of this file and the loss of the
    authors' code have the same limit.

    Args:
        setting: The number of classes.
        alpha: α, at least 0; 1 by default.
        beta: β, at least 0; 8 by default. The authors use 2, 6 or 8, depending on the networks.
        temperature: T, above 0; 4 by default.
        standardise: Whether to standardise the logits; False by default.

    Raises:
        Incompatible: The data set has fewer than three classes, so that n is constant.
    """

    paper = (
        "Zhao, Cui, Song, Qiu, Liang. Decoupled Knowledge Distillation. CVPR 2022. arXiv:2203.08679"
    )
    formula = (
        r"L = T^2 \operatorname{mean}_i \left[ \alpha \operatorname{KL} ( b_t \, \Vert \, b_s "
        r") + \beta \operatorname{KL} ( n_t \, \Vert \, n_s ) \right]_i",
    )
    reads = ("logits",)
    needs_labels = True

    def __init__(
        self,
        setting: Setting,
        *,
        alpha: NonNegative = 1.0,
        beta: NonNegative = 8.0,
        temperature: Positive = 4.0,
        standardise: bool = False,
    ) -> None:
        super().__init__(setting)
        require_three_classes(setting, "the classes other than the true one are compared")
        if standardise:
            require_standardisable(setting)
        self.alpha, self.beta = alpha, beta
        self.temperature, self.standardise = temperature, standardise

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted sum of the two divergences, averaged over the batch, times T²."""
        (b_t, n_t), (b_s, n_s) = (
            self.log_probabilities(x.logits, batch.labels) for x in (teacher, student)
        )
        loss = self.alpha * divergence(b_t, b_s) + self.beta * divergence(n_t, n_s)
        return loss.mean() * self.temperature**2

    def log_probabilities(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return log b (B, 2) and log n (B, K), where the true class has probability 0 in n."""
        logits = (standardised(logits) if self.standardise else logits) / self.temperature
        others = without_true_class(logits, labels)
        log_others = others.logsumexp(dim=1) - logits.logsumexp(dim=1)
        log_true = -F.cross_entropy(logits, labels, reduction="none")
        return torch.stack([log_true, log_others], dim=1), F.log_softmax(others, dim=1)
