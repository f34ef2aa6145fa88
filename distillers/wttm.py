"""Weighted transformed teacher matching: samples with an uncertain teacher count more."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Features
from distillers.ttm import TTM


class WTTM(TTM):
    """L = mean_i u_i KL(q_i ‖ p_i), u_i = Σ_k p_t,ik^γ, q_ik = p_t,ik^γ / u_i.

    p and p_t (B, K) are the softmax of the logits of the student and the teacher. The weight u_i of
    a sample lies between 1, for a certain teacher, and K^(1-γ), for equal probabilities, if γ is at
    most 1.

    Source: the paper; the authors' code (zkxufo/TTM) for γ, the value in its example of TTM.

    Args:
        setting: Not used, since the loss has no parameters.
        exponent: γ, above 0; 0.1 by default, as in `ttm`.
    """

    formula = (
        r"L = \operatorname{mean}_i u_i \operatorname{KL} ( q_i \, \Vert \, p_i ), \quad "
        r"u_i = \sum_k p_{t,ik}^{\gamma}, \quad q_{ik} = \frac{p_{t,ik}^{\gamma}}{u_i}",
    )

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the weighted divergence, averaged over the batch, in nats."""
        log_powers = self.exponent * F.log_softmax(teacher.logits, dim=1)
        weight = log_powers.logsumexp(dim=1).exp()
        return (weight * self.divergences(student, teacher)).mean()
