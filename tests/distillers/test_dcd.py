"""DCD: its loss by loops, and what its two scalars can do."""

import math

import pytest
import torch
import torch.nn.functional as F

import distillers
from tests.distillers.geometry import BATCH, B, S, T, made, made_for, pooled

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def test_dcd_by_loops():
    dcd = made("dcd", alpha=0.7)
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


def test_dcds_bias_is_inert():
    dcd = made("dcd")
    loss = dcd(S, T, BATCH)
    loss.backward()
    assert dcd.bias.grad.abs() < 1e-12
    dcd.bias.data += 3
    torch.testing.assert_close(dcd(S, T, BATCH), loss, **EXACT)


def test_dcd_is_consistent_when_scores_are_symmetric():
    embeddings = made_for("dcd", S, S, width=19)
    embeddings.embed_t.load_state_dict(embeddings.embed_s.state_dict())
    only_contrast = made_for("dcd", S, S, width=19, alpha=0.0)
    only_contrast.load_state_dict(embeddings.state_dict())
    torch.testing.assert_close(embeddings(S, S, BATCH), only_contrast(S, S, BATCH), **EXACT)


def test_dcd_starts_near_the_logarithm_of_the_batch():
    rng = torch.Generator().manual_seed(0)
    s, t = (pooled(torch.randn(64, 256, generator=rng)) for _ in range(2))
    assert made_for("dcd", s, t)(s, t, BATCH).item() == pytest.approx(math.log(64), abs=0.15)


def test_dcds_scalars_are_spared_from_decay():
    assert distillers.load("dcd").undecayed == ("log_scale", "bias")
