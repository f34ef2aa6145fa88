"""Cross-entropy with the true labels, part of almost every method in methods.yaml."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features


class CE(Distiller):
    """L = -mean_i log softmax(z_s)_i[y_i].

    z_s (B, K) are the student's logits, y (B,) the labels; i is a sample. The loss ignores the
    teacher. If the recipe mixes images or smooths labels, the batch has class probabilities q (B,
    K), and L = -mean_i Σ_k q_ik log softmax(z_s)_ik.

    Source: the paper, which combines a softmax with the negative log-likelihood of the true class.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = (
        "Bridle. Training Stochastic Model Recognition Algorithms as Networks can Lead to Maximum "
        "Mutual Information Estimation of Parameters. NIPS 1989"
    )
    formula = (r"L = -\operatorname{mean}_i \log \operatorname{softmax}(z_s)_{i, y_i}",)
    reads = ("logits",)
    uses_teacher = False
    uses_labels = True

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the student's logits, in nats."""
        return F.cross_entropy(student.logits, batch.target)
