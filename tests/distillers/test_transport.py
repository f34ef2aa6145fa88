"""Transport plans against the solvers of POT, and the two parts of WCoRD."""

import inspect
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import distillers
from distillers import Incompatible, Setting
from distillers._transport import cosine_cost, ipot, sinkhorn
from tests.distillers.contract import (
    BATCH,
    INDEX,
    STUDENT,
    TEACHER,
    TRAIN_LABELS,
    B,
    built,
    student,
    teacher,
)

with warnings.catch_warnings():  # POT has docstrings that Python 3.12 warns of
    warnings.simplefilter("ignore")
    import ot

WCoRD = distillers.load("wcord")
SOLVERS = {
    "ipot": lambda cost: ipot(cost, 0.5, 50),
    "sinkhorn": lambda cost: sinkhorn(cost, 0.05, 50),
}
EVERY = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


def clouds(seed, n=31, m=31, width=8):
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(k, width, generator=rng, dtype=torch.float64) for k in (n, m))


def masses(cost):
    return tuple(np.full(k, 1 / k) for k in cost.shape)


@pytest.mark.parametrize("size", [(31, 31), (7, 19)])
def test_sinkhorn_is_that_of_pot(size):
    cost = cosine_cost(*clouds(0, *size))
    theirs = ot.sinkhorn(*masses(cost), cost.numpy(), reg=0.1, stopThr=1e-14, numItermax=10000)
    np.testing.assert_allclose(sinkhorn(cost, 0.1, 2000).numpy(), theirs, atol=1e-9)


@pytest.mark.parametrize("size", [(31, 31), (7, 19)])
@pytest.mark.parametrize("seed", range(5))
def test_ipot_is_nearly_the_exact_plan(seed, size):
    cost = cosine_cost(*clouds(seed, *size))
    exact = ot.emd2(*masses(cost), cost.numpy())
    assert (ipot(cost, 0.5, 50) * cost).sum().item() == pytest.approx(exact, rel=0.02)
    assert (ipot(cost, 0.5, 2000) * cost).sum().item() == pytest.approx(exact, rel=2e-4)


def test_sinkhorn_approaches_the_exact_plan_as_its_entropy_vanishes():
    cost = cosine_cost(*clouds(0))
    exact = ot.emd2(*masses(cost), cost.numpy())
    gaps = [(sinkhorn(cost, e, 3000) * cost).sum().item() - exact for e in (0.5, 0.1, 0.02, 0.004)]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 < gaps[-1] < 0.01 * exact


def test_sinkhorn_with_much_entropy_says_nothing():
    plan = sinkhorn(cosine_cost(*clouds(0)), 50.0, 50)
    torch.testing.assert_close(plan, torch.full_like(plan, 1 / 31**2), rtol=0.1, atol=0)


@EVERY
@pytest.mark.parametrize("seed", range(5))
def test_marginals_are_uniform(solve, seed):
    plan = solve(cosine_cost(*clouds(seed)))
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(0), torch.full((31,), 1 / 31).double())
    torch.testing.assert_close(plan.sum(1), torch.full((31,), 1 / 31).double(), rtol=0.02, atol=0)


@EVERY
def test_identical_sets_are_at_no_distance(solve):
    x, _ = clouds(0)
    cost = cosine_cost(x, x)
    assert (solve(cost) * cost).sum() < 1e-3


@EVERY
def test_the_order_of_the_teachers_samples_does_not_matter(solve):
    x, y = clouds(0)
    order = torch.randperm(31, generator=torch.Generator().manual_seed(0))
    a, b = cosine_cost(x, y), cosine_cost(x, y[order])
    torch.testing.assert_close((solve(a) * a).sum(), (solve(b) * b).sum())
    torch.testing.assert_close(solve(a)[:, order], solve(b))


@EVERY
def test_costs_that_overflow_an_exponential_are_no_matter(solve):
    cost = 100 * cosine_cost(*clouds(0)).float()
    assert solve(cost).isfinite().all()


def test_a_plan_has_no_gradient():
    x, y = clouds(0)
    cost = cosine_cost(x.requires_grad_(), y)
    assert not ipot(cost, 0.5, 5).requires_grad
    assert not sinkhorn(cost, 0.5, 5).requires_grad


def made(**options):
    return built(WCoRD, 0, **options)


def parts(**options):
    """A WCoRD of weight 1 on both parts, in the middle of training."""
    wcord = made(**{"global_weight": 1.0, "local_weight": 1.0, **options})
    wcord(student(8), teacher(9), BATCH)
    return wcord


def test_the_loss_is_the_weighted_sum_of_its_parts():
    both = made(global_weight=0.3, local_weight=0.7)(student(), teacher(), BATCH)
    only_global = made(global_weight=0.3, local_weight=0.0)(student(), teacher(), BATCH)
    only_local = made(global_weight=0.0, local_weight=0.7)(student(), teacher(), BATCH)
    torch.testing.assert_close(both, only_global + only_local)


def test_a_part_of_weight_zero_is_left_out():
    local = made(global_weight=0.0, negatives=10_000)
    assert not {name for name, _ in local.named_buffers() if "bank" in name or "z_" in name}
    with pytest.raises(Incompatible, match="10000 negatives"):
        made(negatives=10_000)
    with pytest.raises(ValueError, match="nothing is left"):
        made(global_weight=0.0, local_weight=0.0)


@pytest.mark.parametrize("solver", ["ipot", "sinkhorn"])
def test_the_local_part_falls_on_a_plan_held_fixed(solver):
    wcord = parts(solver=solver)
    u, v = (x.float().requires_grad_() for x in clouds(0))
    wcord.matching(u, v).backward()
    plan = wcord.solve(cosine_cost(u, v), wcord.softness, wcord.rounds)
    expected = torch.autograd.grad((plan.detach() * cosine_cost(u, v)).sum(), u)[0]
    torch.testing.assert_close(u.grad, expected)


@torch.no_grad()
@pytest.mark.parametrize("form", ["nce", "kr"])
def test_the_global_part_by_loops(form):
    wcord = made(form=form, temperature=0.3).eval()
    u, v = (F.normalize(torch.randn(B, 19), dim=1) / 2 for _ in range(2))
    rows = torch.cat([INDEX[:, None], wcord.others(BATCH.labels)], 1)
    expected = 0.0
    for anchor, bank in ((u, wcord.bank_t.rows), (v, wcord.bank_s.rows)):
        e = [
            [math.exp(float(a @ bank[k]) / 0.3) for k in row]
            for a, row in zip(anchor, rows, strict=True)
        ]
        z = sum(map(sum, e)) / rows.numel() * len(TRAIN_LABELS)
        c = (rows.shape[1] - 1) / len(TRAIN_LABELS)
        for h, *others in ([x / z / (x / z + c) for x in row] for row in e):
            false = sum(math.log(1 - x) for x in others) if form == "nce" else -sum(others)
            expected -= ((math.log(h) if form == "nce" else h) + false) / B
    found = wcord.contrast(u, v, BATCH, rows)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_the_dual_form_starts_near_one_in_each_direction():
    found = made(form="kr", global_weight=1.0, local_weight=0.0)(student(), teacher(), BATCH)
    assert found.item() == pytest.approx(2, abs=0.3)


def test_the_critic_is_lipschitz_and_bounded_in_training():
    wcord = made(momentum=0.5)
    parameters = torch.optim.SGD(wcord.parameters(), lr=1.0)
    for seed in range(30):
        parameters.zero_grad()
        wcord(student(seed), teacher(seed + 1), BATCH).backward()
        parameters.step()
    wcord.train()(student(), teacher(), BATCH)  # the estimate of the norm moves by forward passes
    for layer in (wcord.eval().embed_s, wcord.embed_t):
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=0.05)
    for bank in (wcord.bank_s, wcord.bank_t):
        assert bank.rows.norm(dim=1).max() < 1.05
        assert (bank.rows[INDEX].norm(dim=1) < 0.99).any()  # not brought to length 1


def test_the_scale_of_features_does_not_reach_the_critic():
    a, b = made(), made()
    seen = teacher()
    loud = replace(seen, pooled=100 * seen.pooled)
    torch.testing.assert_close(a(student(), seen, BATCH), b(student(), loud, BATCH))


def test_it_says_that_it_is_a_reconstruction():
    assert WCoRD.note == "reconstruction"
    assert inspect.getdoc(WCoRD).startswith("A reconstruction: ")
    setting = Setting(STUDENT, TEACHER, TRAIN_LABELS, torch.Generator())
    assert WCoRD(setting, negatives=3).note == "reconstruction"
