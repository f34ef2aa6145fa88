"""Probabilistic knowledge transfer: match how likely each sample is another's neighbour."""

import torch.nn.functional as F
from torch import Tensor

from distillers._base import Batch, Distiller, Features

TINY = 1e-7  # as RepDistiller: keeps lengths and logarithms finite


class PKT(Distiller):
    """L = mean_ij q_ij log(q_ij / p_ij), p and q the neighbour probabilities of student, teacher.

    p_ij = s_ij / Σ_k s_ik with s_ij = (cos(f_i, f_j) + 1) / 2, f the pooled features; the sample
    itself (j = i) is one of its neighbours. The scale of each sample's features does not matter.
    The mean is over all B² pairs, so that L is the mean divergence of rows over B: the weight
    30000 of the papers' tables belongs to B = 64.
    """

    paper = (
        "Passalis, Tefas. Learning Deep Representations with Probabilistic Knowledge Transfer. "
        "ECCV 2018. arXiv:1803.10837"
    )
    reads = ("pooled",)

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The mean over pairs of the terms of the divergence, in nats."""
        p, q = neighbours(student.pooled), neighbours(teacher.pooled)
        return (q * ((q + TINY) / (p + TINY)).log()).mean()


def neighbours(x: Tensor) -> Tensor:
    """Each row: a sample's distribution over the samples of x (B, D) by cosine: (B, B)."""
    x = F.normalize(x, dim=1, eps=TINY)
    similarity = (x @ x.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)
