"""Transport plans against the solvers of POT."""

import warnings

import numpy as np
import pytest
import torch

from distillers._optimal_transport import cosine_cost, ipot, sinkhorn

with warnings.catch_warnings():  # Python 3.12 warns about docstrings of POT
    warnings.simplefilter("ignore")
    import ot

SOLVERS = {
    "ipot": lambda cost: ipot(cost, 0.5, 50),
    "sinkhorn": lambda cost: sinkhorn(cost, 0.05, 50),
}
BOTH_SOLVERS = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


def two_sets(seed, n=31, m=31, width=8):
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(k, width, generator=rng, dtype=torch.float64) for k in (n, m))


def masses(cost):
    return tuple(np.full(k, 1 / k) for k in cost.shape)


@pytest.mark.parametrize("size", [(31, 31), (7, 19)])
def test_sinkhorn_equals_pots_sinkhorn(size):
    cost = cosine_cost(*two_sets(0, *size))
    expected = ot.sinkhorn(*masses(cost), cost.numpy(), reg=0.1, stopThr=1e-14, numItermax=10000)
    np.testing.assert_allclose(sinkhorn(cost, 0.1, 2000).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("size", [(31, 31), (7, 19)])
@pytest.mark.parametrize("seed", range(5))
def test_cost_of_ipot_is_close_to_the_exact_cost(seed, size):
    cost = cosine_cost(*two_sets(seed, *size))
    exact = ot.emd2(*masses(cost), cost.numpy())
    assert (ipot(cost, 0.5, 50) * cost).sum().item() == pytest.approx(exact, rel=0.02)
    assert (ipot(cost, 0.5, 2000) * cost).sum().item() == pytest.approx(exact, rel=2e-4)


def test_cost_of_sinkhorn_approaches_the_exact_cost_as_entropy_falls():
    cost = cosine_cost(*two_sets(0))
    exact = ot.emd2(*masses(cost), cost.numpy())
    gaps = [(sinkhorn(cost, e, 3000) * cost).sum().item() - exact for e in (0.5, 0.1, 0.02, 0.004)]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 < gaps[-1] < 0.01 * exact


def test_sinkhorn_with_high_entropy_returns_a_uniform_plan():
    plan = sinkhorn(cosine_cost(*two_sets(0)), 50.0, 50)
    torch.testing.assert_close(plan, torch.full_like(plan, 1 / 31**2), rtol=0.1, atol=0)


@BOTH_SOLVERS
@pytest.mark.parametrize("seed", range(5))
def test_marginals_of_the_plan_are_uniform(solve, seed):
    plan = solve(cosine_cost(*two_sets(seed)))
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(0), torch.full((31,), 1 / 31).double())
    torch.testing.assert_close(plan.sum(1), torch.full((31,), 1 / 31).double(), rtol=0.02, atol=0)


@BOTH_SOLVERS
def test_cost_between_identical_sets_is_zero(solve):
    x, _ = two_sets(0)
    cost = cosine_cost(x, x)
    assert (solve(cost) * cost).sum() < 1e-3


@BOTH_SOLVERS
def test_order_of_the_second_set_does_not_change_the_cost(solve):
    x, y = two_sets(0)
    order = torch.randperm(31, generator=torch.Generator().manual_seed(0))
    a, b = cosine_cost(x, y), cosine_cost(x, y[order])
    torch.testing.assert_close((solve(a) * a).sum(), (solve(b) * b).sum())
    torch.testing.assert_close(solve(a)[:, order], solve(b))


@BOTH_SOLVERS
def test_plan_is_finite_for_costs_that_overflow_an_exponential(solve):
    cost = 100 * cosine_cost(*two_sets(0)).float()
    assert solve(cost).isfinite().all()


def test_plan_has_no_gradient():
    x, y = two_sets(0)
    cost = cosine_cost(x.requires_grad_(), y)
    assert not ipot(cost, 0.5, 5).requires_grad
    assert not sinkhorn(cost, 0.5, 5).requires_grad
