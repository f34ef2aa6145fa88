"""RKD: its loss against loops, its invariances, and batches with equal samples."""

import math
from dataclasses import replace

import pytest
import torch

from tests.distillers.geometry import B, S, T, loss_of, pooled_features

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def test_rkd_equals_a_computation_by_loops():
    def huber(x):
        return x * x / 2 if abs(x) < 1 else abs(x) - 0.5

    def distances(x):
        raw = [[math.dist(a, b) for b in x] for a in x]
        mean = sum(map(sum, raw)) / (B * (B - 1))
        return [[d / mean for d in row] for row in raw]

    def unit(a, b):
        length = math.dist(a, b)
        return [(y - z) / length if length else 0.0 for y, z in zip(b, a, strict=True)]

    def angles(x):
        units = [[unit(a, b) for b in x] for a in x]
        return [
            sum(y * z for y, z in zip(a, b, strict=True)) for row in units for a in row for b in row
        ]

    s, t = S.pooled.tolist(), T.pooled.tolist()
    d = [
        huber(a - b)
        for x, y in zip(distances(s), distances(t), strict=True)
        for a, b in zip(x, y, strict=False)
    ]
    a = [huber(x - y) for x, y in zip(angles(s), angles(t), strict=True)]
    expected = 2 * sum(d) / B**2 + 3 * sum(a) / B**3
    assert loss_of("rkd", S, T, distance=2.0, angle=3.0).item() == pytest.approx(expected)


def test_shifts_rotations_and_scale_do_not_change_rkd():
    rotation, _ = torch.linalg.qr(torch.randn(11, 11, dtype=torch.float64))
    moved = replace(S, pooled=3.7 * S.pooled @ rotation + 1.5)
    torch.testing.assert_close(loss_of("rkd", moved, T), loss_of("rkd", S, T), **EXACT)


def test_equal_samples_get_no_gradient_from_each_other_in_rkd():
    x = S.pooled.clone()
    x[1] = x[0]
    student = pooled_features(x)
    loss_of("rkd", student, T).backward()
    assert student.pooled.grad.abs().max() < 100
    torch.testing.assert_close(student.pooled.grad.sum(0), torch.zeros(11).double(), **EXACT)


def test_rkd_is_finite_for_a_batch_of_equal_samples():
    student = pooled_features(torch.ones(B, 11))
    loss = loss_of("rkd", student, T)
    loss.backward()
    assert loss.isfinite()
    assert student.pooled.grad.abs().max() == 0
