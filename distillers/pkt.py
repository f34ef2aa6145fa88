"""Probabilistic knowledge transfer: match the probabilities that samples are neighbours."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features

EPSILON = 1e-7  # RepDistiller's value; prevents a division by 0 and log(0)


class PKT(Distiller):
    """L = mean_ij q_ij log(q_ij / p_ij), p of the student, q of the teacher.

    p, q (B, B) hold neighbour probabilities: p_ij = s_ij / Σ_k s_ik, s_ij = (1 + cos(f_i, f_j))/2.
    f (B, D) are the pooled features. Each sample counts as one of its own neighbours. Scaling a
    sample's features does not change the loss.
    The mean is over all B² pairs, so L is the mean divergence of the B rows, divided by B. The CRD
    paper's weight of 30000 is therefore for B = 64.

    Source: the paper's cosine kernel, as in RepDistiller.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = (
        "Passalis, Tefas. Learning Deep Representations with Probabilistic Knowledge Transfer. "
        "ECCV 2018. arXiv:1803.10837"
    )
    formula = (
        r"L = \operatorname{mean}_{ij} q_{ij} \log \frac{q_{ij}}{p_{ij}}",
        r"p_{ij} = \frac{s_{ij}}{\sum_k s_{ik}}, \quad s_{ij} = \frac{1 + \cos(f_i, f_j)}{2}",
    )
    reads = ("pooled",)
    relational = True

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the divergence's terms averaged over all B² pairs, in nats."""
        p = _neighbour_probabilities(student.pooled)
        q = _neighbour_probabilities(teacher.pooled)
        return (q * ((q + EPSILON) / (p + EPSILON)).log()).mean()


def _neighbour_probabilities(pooled: Tensor) -> Tensor:
    """Return the neighbour probabilities (B, B) of pooled features (B, D); each row sums to 1."""
    unit = F.normalize(pooled, dim=1, eps=EPSILON)
    similarity = (unit @ unit.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)
