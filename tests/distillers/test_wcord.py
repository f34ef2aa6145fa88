"""WCoRD: its two parts against loops, the bounds of its critic, and its note in tables."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import distillers
from distillers import Incompatible
from distillers._optimal_transport import cosine_cost
from tests.distillers.geometry import (
    BATCH,
    INDEX,
    TRAIN_LABELS,
    B,
    build,
    random_student,
    random_teacher,
)

WCoRD = distillers.load("wcord")


def build_wcord(**options):
    return build(WCoRD, 0, **options)


def first_loss(**options):
    return build_wcord(**options)(random_student(), random_teacher(), BATCH)


def test_loss_is_the_weighted_sum_of_both_parts():
    both = first_loss(global_weight=0.3, local_weight=0.7)
    only_global = first_loss(global_weight=0.3, local_weight=0.0)
    only_local = first_loss(global_weight=0.0, local_weight=0.7)
    torch.testing.assert_close(both, only_global + only_local)


def test_part_of_weight_zero_is_left_out():
    local = build_wcord(global_weight=0.0, negatives=10_000)
    assert not {name for name, _ in local.named_buffers() if "bank" in name or "z_" in name}
    with pytest.raises(Incompatible, match="negatives 10000"):
        build_wcord(negatives=10_000)
    with pytest.raises(ValueError, match="are both 0"):
        build_wcord(global_weight=0.0, local_weight=0.0)


@pytest.mark.parametrize("solver", ["ipot", "sinkhorn"])
def test_gradient_of_the_local_part_does_not_flow_through_the_plan(solver):
    wcord = build_wcord(solver=solver)
    u, v = (torch.randn(B, 19, requires_grad=True) for _ in range(2))
    wcord.matching(u, v).backward()
    plan = wcord.solve(cosine_cost(u, v))
    expected = torch.autograd.grad((plan.detach() * cosine_cost(u, v)).sum(), u)[0]
    torch.testing.assert_close(u.grad, expected)


@torch.no_grad()
@pytest.mark.parametrize("form", ["nce", "kr"])
def test_global_part_equals_a_computation_by_loops(form):
    wcord = build_wcord(form=form, temperature=0.3).eval()
    u, v = (F.normalize(torch.randn(B, 19), dim=1) / 2 for _ in range(2))
    rows = torch.cat([INDEX[:, None], wcord.draw_negatives(BATCH.labels)], 1)
    expected = 0.0
    for anchor, bank in ((u, wcord.bank_t.rows), (v, wcord.bank_s.rows)):
        e = [
            [math.exp(float(a @ bank[k]) / 0.3) for k in row]
            for a, row in zip(anchor, rows, strict=True)
        ]
        z = sum(map(sum, e)) / rows.numel() * len(TRAIN_LABELS)
        c = (rows.shape[1] - 1) / len(TRAIN_LABELS)
        for h, *negatives in ([x / z / (x / z + c) for x in row] for row in e):
            false = sum(math.log(1 - x) for x in negatives) if form == "nce" else -sum(negatives)
            expected -= ((math.log(h) if form == "nce" else h) + false) / B
    loss = wcord.contrast(u, v, BATCH, rows)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_first_loss_of_the_dual_form_is_near_one_per_direction():
    loss = first_loss(form="kr", global_weight=1.0, local_weight=0.0)
    assert loss.item() == pytest.approx(2, abs=0.3)


def test_critic_stays_lipschitz_and_bounded_during_training():
    wcord = build_wcord(momentum=0.5)
    optimiser = torch.optim.SGD(wcord.parameters(), lr=1.0)
    for seed in range(30):
        optimiser.zero_grad()
        wcord(random_student(seed), random_teacher(seed + 1), BATCH).backward()
        optimiser.step()
    # Each forward pass in training mode refines the estimate of the spectral norm.
    wcord.train()(random_student(), random_teacher(), BATCH)
    for layer in (wcord.eval().embed_s, wcord.embed_t):
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=0.05)
    for bank in (wcord.bank_s, wcord.bank_t):
        assert bank.rows.norm(dim=1).max() < 1.05
        assert (bank.rows[INDEX].norm(dim=1) < 0.99).any()  # not scaled to length 1


def test_scale_of_the_features_does_not_change_the_loss():
    a, b = build_wcord(), build_wcord()
    teacher = random_teacher()
    scaled = replace(teacher, pooled=100 * teacher.pooled)
    torch.testing.assert_close(
        a(random_student(), teacher, BATCH), b(random_student(), scaled, BATCH)
    )


def test_note_and_docstring_call_wcord_a_reconstruction():
    assert WCoRD.note == "reconstruction"
    assert inspect.getdoc(WCoRD).startswith("A reconstruction: ")
