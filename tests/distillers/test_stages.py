"""FitNet and AT: which stages fit, and the losses by loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import distillers
from distillers import Features, Incompatible
from tests.distillers.geometry import BATCH, B, S, T, built, made, made_for, student, teacher, value

EXACT = {"rtol": 1e-9, "atol": 1e-12}


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_at_by_loops(power):
    def attention(stage, size):
        stage = F.adaptive_avg_pool2d(stage, size)
        maps = [(abs(sample) ** power).mean(0).flatten() for sample in stage]
        return [a / math.sqrt(sum(a * a)) for a in maps]

    total = 0.0
    for s, t in zip(S.stages, T.stages, strict=True):
        size = t.shape[2:]  # the smaller one in this geometry
        pairs = zip(attention(s, size), attention(t, size), strict=True)
        total += sum(float(((a - b) ** 2).mean()) for a, b in pairs) / B
    assert value("at", S, T, power=power).item() == pytest.approx(total)


def test_at_pools_the_larger_map_whichever_it_is():
    swapped = made_for("at", T, S)(T, S, BATCH)
    torch.testing.assert_close(swapped, value("at", S, T), **EXACT)


@pytest.mark.parametrize(
    ("s", "t", "kernel", "stride"),
    [
        ((3, 8, 8), (5, 4, 4), (3, 3), (2, 2)),
        ((3, 4, 4), (5, 8, 8), (4, 4), (2, 2)),
        ((3, 4, 4), (5, 4, 4), (1, 1), (1, 1)),
        ((3, 7, 6), (5, 4, 4), (4, 3), (1, 1)),
    ],
)
def test_fitnets_regressor_leads_to_the_teachers_shape(s, t, kernel, stride):
    maps = Features((torch.randn(2, *s),), torch.zeros(2, 1), torch.zeros(2, 1))
    hints = Features((torch.randn(2, *t),), torch.zeros(2, 1), torch.zeros(2, 1))
    fitnet = made_for("fitnet", maps, hints, stage=0)
    assert (fitnet.regress[0].kernel_size, fitnet.regress[0].stride) == (kernel, stride)
    assert fitnet.regress(maps.stages[0]).shape == hints.stages[0].shape


def test_fitnet_is_zero_for_an_identity_regressor():
    fitnet = made_for("fitnet", T, T, relu=False).eval()
    with torch.no_grad():
        fitnet.regress[0].weight.copy_(torch.eye(29)[:, :, None, None])
        fitnet.regress[0].bias.zero_()
        fitnet.regress[1].eps = 0.0
    assert fitnet(T, T, BATCH) == 0


def test_fitnets_relu_can_be_left_out():
    assert (value_of_regressor(relu=True) >= 0).all()
    assert (value_of_regressor(relu=False) < 0).any()


def value_of_regressor(**options) -> Tensor:
    return made("fitnet", **options).regress(S.stages[1])


def with_stages(*stages) -> Features:
    return Features(tuple(torch.zeros(1, *x) for x in stages), torch.zeros(1, 1), torch.zeros(1, 1))


@pytest.mark.parametrize("stage", [-1, 2, 3])
def test_fitnet_refuses_a_stage_that_one_network_lacks(stage):
    two, three = with_stages((1, 4, 4), (1, 2, 2)), with_stages(*[(1, 4, 4)] * 3)
    with pytest.raises(Incompatible, match=f"no stage {stage}: the student has 2 stages"):
        made_for("fitnet", two, three, stage=stage)


def test_fitnet_refuses_what_no_regressor_bridges():
    with pytest.raises(Incompatible, match="4 x 4 to the teacher's of 12 x 12"):
        made_for("fitnet", with_stages((3, 4, 4)), with_stages((5, 12, 12)), stage=0)


def test_at_refuses_networks_whose_stages_do_not_pair_up():
    with pytest.raises(Incompatible, match="the student has 1 stages, the teacher 2"):
        made_for("at", with_stages((1, 4, 4)), with_stages((1, 4, 4), (1, 2, 2)))


def test_crd_is_finite_at_the_lowest_temperature_of_the_paper():
    assert built(distillers.load("crd"), 0, temperature=0.02)(
        student(), teacher(), BATCH
    ).isfinite()


@pytest.mark.parametrize(("log_scale", "trained"), [(2.30, True), (2.31, False)])
def test_dcds_scale_stops_at_ten(log_scale, trained):
    dcd = made("dcd")
    dcd.log_scale.data.fill_(log_scale)
    dcd(S, T, BATCH).backward()
    assert (dcd.log_scale.grad != 0) == trained
