"""Plans that move one set of samples onto another at little cost, each sample of equal mass."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_cost(u: Tensor, v: Tensor) -> Tensor:
    """1 - cosine between all rows of u (n, D) and v (m, D): (n, m), from 0 to 2."""
    return 1 - F.normalize(u, dim=1) @ F.normalize(v, dim=1).T


@torch.no_grad()
def sinkhorn(cost: Tensor, entropy: float, rounds: int) -> Tensor:
    """The plan (n, m) of least <plan, cost> - entropy · H(plan), for cost (n, m).

    Its columns sum to 1 / m, its rows to 1 / n in the limit of many rounds. Cuturi. Sinkhorn
    Distances. NIPS 2013. arXiv:1306.0895.
    """
    log_plan = -cost / entropy
    for _ in range(rounds):
        log_plan = log_plan + scaling(log_plan, 1)
        log_plan = log_plan + scaling(log_plan, 0)
    return log_plan.exp()


@torch.no_grad()
def ipot(cost: Tensor, step: float, rounds: int) -> Tensor:
    """The plan (n, m) of least <plan, cost> in the limit of many rounds, for cost (n, m).

    Each round is a proximal step of size `step` from the last plan, solved by one sweep of
    Sinkhorn's scaling that starts from the last round's. Columns sum to 1 / m, rows to about 1 / n.
    Xie et al. A Fast Proximal Point Method for Computing Exact Wasserstein Distance. UAI 2019.
    arXiv:1802.04307.
    """
    log_plan = torch.zeros_like(cost)
    column = torch.zeros_like(cost[:1])
    for _ in range(rounds):
        log_plan = log_plan - cost / step
        row = scaling(log_plan + column, 1)
        column = scaling(log_plan + row, 0)
        log_plan = log_plan + row + column
    return log_plan.exp()


def scaling(log_plan: Tensor, dim: int) -> Tensor:
    """What to add to a plan's logarithm to make its sums over dim equal, and 1 in total."""
    sums = log_plan.logsumexp(dim, keepdim=True)
    return -sums - math.log(sums.numel())
