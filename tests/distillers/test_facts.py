"""Zeros, invariances and values by hand of the distillers without a memory bank."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.distillers.geometry import BATCH, B, K, S, T, build_for, loss_of, pooled_features

EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.mark.parametrize("name", ["kd", "at", "sp", "rkd", "pkt"])
def test_loss_is_zero_if_the_student_equals_the_teacher(name):
    assert loss_of(name, T, T).abs() < 1e-12


@pytest.mark.parametrize(
    ("name", "field"), [("at", "stages"), ("sp", "stages"), ("rkd", "pooled"), ("pkt", "pooled")]
)
@pytest.mark.parametrize("changed", ["student", "teacher"])
def test_scale_of_the_features_does_not_change_the_loss(name, field, changed):
    def scale(features):
        x = getattr(features, field)
        return replace(features, **{field: tuple(3 * y for y in x) if field == "stages" else 3 * x})

    s, t = (scale(S), T) if changed == "student" else (S, scale(T))
    torch.testing.assert_close(loss_of(name, s, t), loss_of(name, S, T), rtol=1e-6, atol=0)


def test_kd_equals_a_value_computed_by_hand():
    s, t = (replace(S, logits=torch.tensor([row], dtype=torch.float64)) for row in ([0, 0], [0, 1]))
    temperature, q = 2.0, 1 / (1 + math.exp(-0.5))
    divergence = q * math.log(2 * q) + (1 - q) * math.log(2 * (1 - q))
    loss = loss_of("kd", s, t, temperature=temperature)
    assert loss.item() == pytest.approx(4 * divergence)


def test_ce_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    loss = loss_of("ce", replace(S, logits=torch.ones(B, K)), T)
    assert loss.item() == pytest.approx(math.log(K))


def test_pkt_times_the_batch_size_is_the_mean_divergence_of_rows():
    p, q = distribution(S.pooled), distribution(T.pooled)
    rows = [
        sum(b * math.log(b / a) for a, b in zip(*pair, strict=True))
        for pair in zip(p, q, strict=True)
    ]
    assert loss_of("pkt", S, T).item() * B == pytest.approx(sum(rows) / B, rel=1e-5)


def distribution(x: Tensor) -> list[list[float]]:
    raw = [[(float(F.cosine_similarity(a, b, dim=0)) + 1) / 2 for b in x] for a in x]
    return [[y / sum(row) for y in row] for row in raw]


def test_scale_of_a_sample_does_not_change_pkt():
    scale = torch.tensor([0.5, 1, 2, 3, 5], dtype=torch.float64)[:, None]
    scaled = replace(S, pooled=S.pooled * scale)
    torch.testing.assert_close(loss_of("pkt", scaled, T), loss_of("pkt", S, T), **EXACT)


def test_sp_equals_a_computation_by_loops():
    def gram(stage):
        raw = [[float((a * b).sum()) for b in stage] for a in stage]
        return [[y / math.sqrt(sum(z * z for z in row)) for y in row] for row in raw]

    a, b = gram(S.stages[-1]), gram(T.stages[-1])
    total = sum((a[i][j] - b[i][j]) ** 2 for i in range(B) for j in range(B))
    assert loss_of("sp", S, T).item() == pytest.approx(total / B**2)


def test_cc_equals_a_value_computed_by_hand():
    s, t = pooled_features([1, 2], [3, 4], [5, 6]), pooled_features([1, 1], [1, 1], [1, 1])
    cc = build_for("cc", s, t, width=2)
    for layer in (cc.embed_s, cc.embed_t):
        layer.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    deltas = ((0, 1), (2, 3), (4, 5))
    expected = (
        sum(a * b for i in range(2) for a, b in zip(deltas[i], deltas[i + 1], strict=True)) / 2
    )
    assert cc(s, t, BATCH).item() == pytest.approx(expected)
