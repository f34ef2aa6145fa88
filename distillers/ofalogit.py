"""One-for-All (OFA), logits only: soft targets in which a power raises the true class."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features, Positive, Setting


class OFALogit(Distiller):
    """L = -mean_i Σ_k [(q_ik + 1[k = y_i])^ε - 1[k = y_i]] log p_ik.

    p and q (B, K) are the softmax of the logits of the student and the teacher, divided by the
    temperature T; y (B,) are the labels. 1[k = y_i] is 1 for the true class and 0 otherwise. With ε
    = 1, the targets are q. A larger ε raises the target of the true class above q, and lowers the
    targets of all other classes below q.
    The targets need not sum to 1, and the loss is not 0 if the student equals the teacher.

    Source: the adaptive target of the paper; the authors' code (OFAKD) for the defaults.
    Unlike the authors' method, only the classifier's logits are compared. That method trains
    auxiliary classifiers on four stages with the same loss.
    Unlike the authors' code, log p is a log-softmax, not the logarithm of a rounded probability.

    Args:
        setting: Not used, since the loss has no parameters.
        power: ε, above 0; 1.5 by default. The authors use 1 or 1.5, depending on the networks.
        temperature: T, above 0; 1 by default.
    """

    paper = (
        "Hao, Guo, Han, Tang, Hu, Wang, Xu. One-for-All: Bridge the Gap Between Heterogeneous "
        "Architectures in Knowledge Distillation. NeurIPS 2023. arXiv:2310.19444"
    )
    formula = (
        r"L = -\operatorname{mean}_i \sum_k \left[ ( q_{ik} + 1[k = y_i] )^{\varepsilon} - 1[k "
        r"= y_i] \right] \log p_{ik}",
    )
    reads = ("logits",)
    needs_labels = True

    def __init__(
        self, setting: Setting, *, power: Positive = 1.5, temperature: Positive = 1.0
    ) -> None:
        super().__init__(setting)
        self.power, self.temperature = power, temperature

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean cross-entropy with the enhanced targets."""
        q = (teacher.logits / self.temperature).softmax(dim=1)
        true = F.one_hot(batch.labels, q.shape[1]).to(q.dtype)
        target = (q + true) ** self.power - true
        log_p = F.log_softmax(student.logits / self.temperature, dim=1)
        return -(target * log_p).sum(dim=1).mean()
