"""Probabilistic knowledge transfer: match how likely each sample is another's neighbour."""

import torch.nn.functional as F
from torch import Tensor

from distillers.base import Batch, Distiller, Features

EPSILON = 1e-7  # RepDistiller's value: keeps lengths and logarithms finite


class PKT(Distiller):
    """L = mean_ij q_ij log(q_ij / p_ij), p and q the neighbour probabilities of student, teacher.

    p (B, B): p_ij = s_ij / Σ_k s_ik with s_ij = (cos(f_i, f_j) + 1) / 2, f (B, D) the pooled
    features. Each sample counts as one of its own neighbours. The scale of a sample's features
    does not matter.
    The mean is over all B² pairs, so L is the mean divergence of the rows divided by B. The weight
    30000 of the papers' tables belongs to B = 64.

    Source: the paper's cosine kernel, as RepDistiller computes it.

    Args:
        setting: Not used, since the loss has no parameters.
    """

    paper = (
        "Passalis, Tefas. Learning Deep Representations with Probabilistic Knowledge Transfer. "
        "ECCV 2018. arXiv:1803.10837"
    )
    reads = ("pooled",)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """Return the mean over pairs of the terms of the divergence, in nats."""
        p = _neighbour_probabilities(student.pooled)
        q = _neighbour_probabilities(teacher.pooled)
        return (q * ((q + EPSILON) / (p + EPSILON)).log()).mean()


def _neighbour_probabilities(pooled: Tensor) -> Tensor:
    """Return each sample's distribution over the samples of pooled (B, D), by cosine: (B, B)."""
    unit = F.normalize(pooled, dim=1, eps=EPSILON)
    similarity = (unit @ unit.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)
