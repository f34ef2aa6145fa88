"""Low-cost transport plans between two sets of equally weighted samples.

Entry (i, j) of a plan (n, m) is the mass that moves from sample i to sample j. The total mass is 1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_cost(u: Tensor, v: Tensor) -> Tensor:
    """Return 1 - cos(u_i, v_j) for all pairs of rows of two sets.

    Args:
        u: The first set, (n, D).
        v: The second set, (m, D).

    Returns:
        The costs, (n, m), from 0 to 2.
    """
    return 1 - F.normalize(u, dim=1) @ F.normalize(v, dim=1).T


@torch.no_grad()
def sinkhorn(cost: Tensor, entropy: float, rounds: int) -> Tensor:
    """Return the plan that minimises Σ_ij plan_ij cost_ij - entropy · H(plan), H its entropy.

    Cuturi. Sinkhorn Distances. NIPS 2013. arXiv:1306.0895.

    Args:
        cost: Costs, (n, m).
        entropy: The weight of the entropy, above 0.
        rounds: The number of iterations.

    Returns:
        The plan, (n, m), without gradient. Its columns sum to 1 / m. Its rows sum to about 1 / n;
        more rounds make the row sums more exact.
    """
    log_plan = -cost / entropy
    for _ in range(rounds):
        log_plan = log_plan + _log_scaling(log_plan, 1)
        log_plan = log_plan + _log_scaling(log_plan, 0)
    return log_plan.exp()


@torch.no_grad()
def ipot(cost: Tensor, step: float, rounds: int) -> Tensor:
    """Return a plan that approximately minimises Σ_ij plan_ij cost_ij; more rounds are more exact.

    Each round takes a proximal step from the previous plan. One iteration of Sinkhorn's algorithm,
    started from the previous round's column scaling, approximates the step.
    Xie et al. A Fast Proximal Point Method for Computing Exact Wasserstein Distance. UAI 2019.
    arXiv:1802.04307.

    Args:
        cost: Costs, (n, m).
        step: The size of the proximal step, above 0.
        rounds: The number of iterations.

    Returns:
        The plan, (n, m), without gradient. Its columns sum to 1 / m, its rows to about 1 / n.
    """
    log_plan = torch.zeros_like(cost)
    column = torch.zeros_like(cost[:1])
    for _ in range(rounds):
        log_plan = log_plan - cost / step
        row = _log_scaling(log_plan + column, 1)
        column = _log_scaling(log_plan + row, 0)
        log_plan = log_plan + row + column
    return log_plan.exp()


def _log_scaling(log_plan: Tensor, dim: int) -> Tensor:
    """Return the summand for `log_plan` that makes the plan's sums over `dim` equal, total 1."""
    sums = log_plan.logsumexp(dim, keepdim=True)
    return -sums - math.log(sums.numel())
