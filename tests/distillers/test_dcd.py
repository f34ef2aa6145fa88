"""DCD: its loss against loops, and the effect of its two scalars."""

import math

import pytest
import torch
import torch.nn.functional as F

import distillers
from tests.distillers.geometry import BATCH, B, S, T, build_double, build_for, pooled_features

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def test_dcd_equals_a_computation_by_loops():
    dcd = build_double("dcd", alpha=0.7)
    u = F.normalize(dcd.embed_s(S.pooled), dim=1).tolist()
    v = F.normalize(dcd.embed_t(T.pooled), dim=1).tolist()
    score = [[math.e * sum(x * y for x, y in zip(a, b, strict=True)) for b in v] for a in u]
    expected = 0.0
    for i in range(B):
        p = [math.exp(score[i][j]) / sum(map(math.exp, score[i])) for j in range(B)]
        column = [score[a][i] for a in range(B)]
        q = [math.exp(column[j]) / sum(map(math.exp, column)) for j in range(B)]
        expected -= math.log(p[i]) / B
        expected += 0.7 * sum(y * math.log(y / x) for x, y in zip(p, q, strict=True)) / B
    assert dcd(S, T, BATCH).item() == pytest.approx(expected)


def test_bias_of_dcd_has_no_effect_and_no_gradient():
    dcd = build_double("dcd")
    loss = dcd(S, T, BATCH)
    loss.backward()
    assert dcd.bias.grad.abs() < 1e-12
    dcd.bias.data += 3
    torch.testing.assert_close(dcd(S, T, BATCH), loss, **EXACT)


def test_consistency_term_of_dcd_is_zero_for_symmetric_scores():
    dcd = build_for("dcd", S, S, width=19)
    dcd.embed_t.load_state_dict(dcd.embed_s.state_dict())
    only_contrast = build_for("dcd", S, S, width=19, alpha=0.0)
    only_contrast.load_state_dict(dcd.state_dict())
    torch.testing.assert_close(dcd(S, S, BATCH), only_contrast(S, S, BATCH), **EXACT)


def test_first_loss_of_dcd_is_near_the_logarithm_of_the_batch_size():
    rng = torch.Generator().manual_seed(0)
    s, t = (pooled_features(torch.randn(64, 256, generator=rng)) for _ in range(2))
    assert build_for("dcd", s, t)(s, t, BATCH).item() == pytest.approx(math.log(64), abs=0.15)


def test_scalars_of_dcd_are_exempt_from_weight_decay():
    assert distillers.load("dcd").undecayed == ("log_scale", "bias")


@pytest.mark.parametrize(("log_scale", "trained"), [(2.30, True), (2.31, False)])
def test_scale_of_dcd_stops_at_10(log_scale, trained):
    dcd = build_double("dcd")
    dcd.log_scale.data.fill_(log_scale)
    dcd(S, T, BATCH).backward()
    assert (dcd.log_scale.grad != 0) == trained
