"""FitNet and AT: the stages they accept, and their losses."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distillers import Features, Incompatible
from tests.distillers.geometry import BATCH, B, S, T, build_double, build_for, loss_of

EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_at_equals_a_computation_by_loops(power):
    def attention(stage, size):
        stage = F.adaptive_avg_pool2d(stage, size)
        maps = [(abs(sample) ** power).mean(0).flatten() for sample in stage]
        return [a / math.sqrt(sum(a * a)) for a in maps]

    total = 0.0
    for s, t in zip(S.stages, T.stages, strict=True):
        size = t.shape[2:]  # the smaller one in this geometry
        pairs = zip(attention(s, size), attention(t, size), strict=True)
        total += sum(float(((a - b) ** 2).mean()) for a, b in pairs) / B
    assert loss_of("at", S, T, power=power).item() == pytest.approx(total)


def test_at_pools_the_larger_map_on_either_side():
    swapped = build_for("at", T, S)(T, S, BATCH)
    torch.testing.assert_close(swapped, loss_of("at", S, T), **EXACT)


@pytest.mark.parametrize(
    ("s", "t", "kernel", "stride"),
    [
        ((3, 8, 8), (5, 4, 4), (3, 3), (2, 2)),
        ((3, 4, 4), (5, 8, 8), (4, 4), (2, 2)),
        ((3, 4, 4), (5, 4, 4), (1, 1), (1, 1)),
        ((3, 7, 6), (5, 4, 4), (4, 3), (1, 1)),
    ],
)
def test_regressor_of_fitnet_returns_maps_of_the_teachers_shape(s, t, kernel, stride):
    maps = Features((torch.randn(2, *s),), torch.zeros(2, 1), torch.zeros(2, 1))
    hints = Features((torch.randn(2, *t),), torch.zeros(2, 1), torch.zeros(2, 1))
    fitnet = build_for("fitnet", maps, hints, stage=0)
    assert (fitnet.regress[0].kernel_size, fitnet.regress[0].stride) == (kernel, stride)
    assert fitnet.regress(maps.stages[0]).shape == hints.stages[0].shape


def test_fitnet_is_zero_for_an_identity_regressor():
    fitnet = build_for("fitnet", T, T, relu=False).eval()
    with torch.no_grad():
        fitnet.regress[0].weight.copy_(torch.eye(29)[:, :, None, None])
        fitnet.regress[0].bias.zero_()
        fitnet.regress[1].eps = 0.0
    assert fitnet(T, T, BATCH) == 0


def test_option_relu_of_fitnet_removes_the_relu():
    assert (regressor_output(relu=True) >= 0).all()
    assert (regressor_output(relu=False) < 0).any()


def regressor_output(**options) -> Tensor:
    return build_double("fitnet", **options).regress(S.stages[1])


def features_with(*stages) -> Features:
    return Features(tuple(torch.zeros(1, *x) for x in stages), torch.zeros(1, 1), torch.zeros(1, 1))


@pytest.mark.parametrize("stage", [-1, 2, 3])
def test_fitnet_rejects_a_stage_that_a_network_does_not_have(stage):
    two, three = features_with((1, 4, 4), (1, 2, 2)), features_with(*[(1, 4, 4)] * 3)
    with pytest.raises(
        Incompatible, match=f"stage {stage} is not in both networks: the student has 2 stages"
    ):
        build_for("fitnet", two, three, stage=stage)


def test_fitnet_rejects_sizes_that_no_regressor_fits():
    with pytest.raises(Incompatible, match="4 x 4 cannot be brought to the teacher's 12 x 12"):
        build_for("fitnet", features_with((3, 4, 4)), features_with((5, 12, 12)), stage=0)


def test_at_rejects_networks_with_different_numbers_of_stages():
    with pytest.raises(Incompatible, match="the student has 1 stages, the teacher 2"):
        build_for("at", features_with((1, 4, 4)), features_with((1, 4, 4), (1, 2, 2)))
