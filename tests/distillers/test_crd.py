"""CRD: its loss against loops, its memory banks, its constants."""

import math

import pytest
import torch
import torch.nn.functional as F

import distillers
from distillers import Batch, Features
from tests.distillers.geometry import (
    BATCH,
    INDEX,
    TRAIN_LABELS,
    B,
    S,
    T,
    build,
    build_double,
    build_for,
    pooled_features,
    random_student,
    random_teacher,
    to_double,
)


@torch.no_grad()
def test_crd_equals_a_computation_by_loops():
    crd = build_double("crd", temperature=0.3)
    rows = torch.cat([INDEX[:, None], crd.draw_negatives(BATCH.labels)], 1)
    u = F.normalize(crd.embed_s(S.pooled), dim=1)
    v = F.normalize(crd.embed_t(T.pooled), dim=1)
    expected = 0.0
    for anchor, bank in ((u, crd.bank_t.rows), (v, crd.bank_s.rows)):
        e = [
            [math.exp(float(a @ bank[k]) / 0.3) for k in row]
            for a, row in zip(anchor, rows, strict=True)
        ]
        z = sum(map(sum, e)) / rows.numel() * len(TRAIN_LABELS)
        c = (rows.shape[1] - 1) / len(TRAIN_LABELS)
        for first, *negatives in ([x / z for x in row] for row in e):
            expected -= math.log(first / (first + c)) / B
            expected -= sum(math.log(c / (x + c)) for x in negatives) / B
    assert crd(S, T, BATCH, rows).item() == pytest.approx(expected)


def test_second_term_of_crd_has_no_gradient_at_the_student():
    crd = build_double("crd")
    student = pooled_features(S.pooled)
    crd.contrast(F.normalize(crd.embed_t(T.pooled), dim=1), crd.bank_s, ROWS, crd.z_t).backward()
    assert student.pooled.grad is None
    assert crd.embed_s.weight.grad is None
    assert crd.embed_t.weight.grad.abs().sum() > 0


ROWS = torch.arange(B)[:, None] + torch.arange(18)[None]


def test_updated_rows_of_crd_have_length_1_and_the_rest_keep_theirs():
    crd = build_double("crd")
    before = crd.bank_s.rows.clone()
    crd(S, T, BATCH)
    updated = torch.zeros(len(TRAIN_LABELS), dtype=torch.bool).index_fill(0, INDEX, value=True)
    for bank in (crd.bank_s, crd.bank_t):
        lengths = bank.rows.norm(dim=1)
        torch.testing.assert_close(lengths[updated], torch.ones(B).double())
        assert ((lengths[~updated] - 1).abs() > 1e-6).all()
    assert torch.equal(crd.bank_s.rows[~updated], before[~updated])


@pytest.mark.parametrize(("temperature", "constant"), [(0.07, 1.11e5), (0.1, 7.4e4)])
def test_first_loss_and_constants_of_crd_are_those_of_the_reference(temperature, constant):
    samples, batch, width = 50_000, 64, 256
    labels = torch.arange(samples) % 100
    rng = torch.Generator().manual_seed(0)
    s, t = (
        Features((), torch.randn(batch, width, generator=rng).relu(), torch.zeros(batch, 100))
        for _ in range(2)
    )
    crd = build_for("crd", s, t, labels, temperature=temperature)
    index = torch.arange(batch) * 7
    loss = crd(s, t, Batch(labels[index], index))
    assert 21 < loss.item() < 24
    assert crd.z_s.item() == pytest.approx(constant, rel=0.05)
    assert crd.z_t.item() == pytest.approx(constant, rel=0.05)


def test_first_training_batch_sets_the_constants_of_crd_for_good():
    crd = build_double("crd")
    crd.eval()(S, T, BATCH)
    assert crd.z_s == 0
    crd.train()(S, T, BATCH)
    first = crd.z_s.clone()
    assert first > 0
    crd(to_double(random_student(5)), to_double(random_teacher(6)), BATCH)
    assert crd.z_s == first


def test_crd_is_finite_at_the_lowest_temperature_of_the_paper():
    crd = build(distillers.load("crd"), 0, temperature=0.02)
    assert crd(random_student(), random_teacher(), BATCH).isfinite()
