"""WCoRD: its two parts by loops, its bounds, and that it says what it is."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import distillers
from distillers import Incompatible
from distillers._transport import cosine_cost
from tests.distillers.geometry import BATCH, INDEX, TRAIN_LABELS, B, built, student, teacher

WCoRD = distillers.load("wcord")


def made(**options):
    return built(WCoRD, 0, **options)


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
    wcord = made(solver=solver)
    u, v = (torch.randn(B, 19, requires_grad=True) for _ in range(2))
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
