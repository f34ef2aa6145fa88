"""Transformed teacher matching: only the teacher's probabilities are softened, by a power."""

import torch.nn.functional as F
from torch import Tensor

from distillers._logits import divergence
from distillers.base import Batch, Distiller, Features, Positive, Setting


class TTM(Distiller):
    """L = mean_i KL(q_i ‖ p_i), q_ik = p_t,ik^γ / Σ_j p_t,ij^γ.

    p and p_t (B, K) are the softmax of the logits of the student and the teacher. The power γ
    softens the teacher's probabilities like a temperature T = 1 / γ. The student's logits have no
    temperature, and the loss has no factor T².

    Source: the paper; the authors' code (zkxufo/TTM) for γ.

    Args:
        setting: Not used, since the loss has no parameters.
        exponent: γ, above 0; 0.1 by default, as in the authors' example.
    """

    paper = (
        "Zheng, Yang. Knowledge Distillation Based on Transformed Teacher Matching. ICLR 2024. "
        "arXiv:2402.11148"
    )
    formula = (
        r"L = \operatorname{mean}_i \operatorname{KL} ( q_i \, \Vert \, p_i ), \quad q_{ik} = "
        r"\frac{p_{t,ik}^{\gamma}}{\sum_j p_{t,ij}^{\gamma}}",
    )
    reads = ("logits",)

    def __init__(self, setting: Setting, *, exponent: Positive = 0.1) -> None:
        super().__init__(setting)
        self.exponent = exponent

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean divergence over the batch, in nats."""
        return self.divergences(student, teacher).mean()

    def divergences(self, student: Features, teacher: Features) -> Tensor:
        """Return KL(q ‖ p) of each sample, (B,)."""
        log_q = F.log_softmax(self.exponent * teacher.logits, dim=1)
        return divergence(log_q, F.log_softmax(student.logits, dim=1))
