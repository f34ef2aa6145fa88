"""By simulation: false alarms are as rare as promised, real drops are detected, seeds suffice."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.regression.testing import Match, RegressionTest
from bench.report.model import Cell, Measured
from bench.stats.comparison import compare_to_baseline, difference_verdicts, regression_verdicts
from bench.stats.estimates import Difference, Variances, moderated, pooled, prior, samples
from bench.stats.power import Design
from tests.command import printed
from tests.soak import some
from tests.statistics.simulate import (
    SPREAD,
    Noise,
    Rule,
    Setup,
    alarms,
    gains,
    share,
    table_differences,
)

TABLES = 2000
PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "crd.csv"


def at_most(rate, trials=TABLES):
    """The largest share in 99.9 % of all simulations whose true share is `rate`."""
    return stats.binom.ppf(0.999, trials, rate) / trials


def rate(setup, **how):
    flags = np.concatenate(list(alarms(setup, TABLES, seed=1, **how)))
    return flags.any(1).mean(), flags[:, 0].mean()


SEEDS = [(2, 2), (10, 2), (2, 10), (2, 5), (5, 3), (20, 2), (3, 3), (5, 5)]


@pytest.mark.soak
@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("noise", list(Noise))
@pytest.mark.parametrize("cells", [1, 4, 13, 40])
def test_at_most_5_percent_of_tables_have_a_false_alarm(rule, noise, cells):
    for before, now in some(SEEDS, 4):
        setup = Setup(before, now, cells, noise, rule=rule)
        assert rate(setup)[0] <= at_most(0.05), setup


@pytest.mark.parametrize("images", [100, 1000])
@pytest.mark.parametrize("rule", list(Rule))
def test_coarse_accuracies_raise_no_more_alarms(rule, images):
    for before, now in [(2, 2), (3, 3), (2, 5)]:
        setup = Setup(before, now, 13, images=images, rule=rule)
        assert rate(setup)[0] <= at_most(0.05), setup


@pytest.mark.parametrize("rule", [Rule.gate, Rule.compare])
def test_another_teacher_that_shifts_all_cells_raises_no_alarm(rule):
    for cells in (1, 2, 3, 13):
        setup = Setup(5, 5, cells, rule=rule, shift=3.0)
        assert rate(setup)[0] <= at_most(0.05), setup


def test_spreads_as_published_raise_no_more_alarms():
    """CRD's Tables 10 and 11 print standard deviations over seeds of 0.04 to 0.54."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        spreads = np.array([float(each["std"]) for each in csv.DictReader(file) if each["std"]])
    assert len(spreads) == 175
    rng = np.random.default_rng(0)
    for cells, before, now in [(14, 3, 3), (14, 3, 5), (3, 2, 2), (91, 3, 3), (91, 2, 5)]:
        runs = rng.choice(spreads, (TABLES, cells, 1)) * rng.normal(
            size=(TABLES, cells, before + now)
        )
        setup = Setup(before, now, cells)
        gain, _ = gains(setup, runs[..., :before], runs[..., before:])
        verdicts = regression_verdicts(gain, 0.0).verdict
        assert (verdicts == "regression").any(1).mean() <= at_most(0.05)
        # of cells that lost exactly the tolerance, at most 5 % pass
        lost = Difference(gain.mean - 0.5, gain.error, gain.df, gain.skew)
        passed = (regression_verdicts(lost, 0.5).verdict == "pass").mean()
        assert passed <= at_most(0.05, gain.mean.size) + 0.01


def test_the_rule_can_raise_alarms():
    """The promise is not kept by never raising an alarm."""
    assert rate(Setup(5, 5, 13))[0] > 0.015
    assert rate(Setup(3, 3, 1))[0] > 0.03


def test_a_drop_of_two_standard_deviations_is_found():
    """52 % with separate variances for both sides, before variances were pooled."""
    power = rate(Setup(5, 5, 13), drop=2.0)[1]
    assert power > 0.52 - 0.02
    shifted = rate(Setup(5, 5, 13, shift=1.0), drop=2.0)[1]
    assert shifted > 0.25


@pytest.mark.parametrize(("seeds", "cells", "least"), [(3, 14, 0.99), (5, 14, 0.99), (3, 91, 0.97)])
def test_a_loss_of_two_points_is_found(seeds, cells, least):
    flags = np.concatenate(list(alarms(Setup(seeds, seeds, cells, tolerance=0.5), TABLES, 0, 6.7)))
    assert flags[:, 0].mean() > least
    assert flags[:, 1:].any(1).mean() <= at_most(0.05)


def test_the_simulated_report_is_the_real_one():
    rng = np.random.default_rng(0)
    for k, paired, n in [(1, True, 3), (4, True, 3), (4, False, 5)]:
        base, methods = rng.normal(size=(6, 1, 3)), rng.normal(size=(6, k, n))
        simulated = table_differences(base, methods, paired, 0.0)
        for i in range(6):
            seeds = dict(enumerate(base[i, 0])), [dict(enumerate(row)) for row in methods[i]]
            [line] = compare_to_baseline([seeds])
            each = Difference(
                *(getattr(simulated, key)[i] for key in ("mean", "error", "df")), simulated.skew
            )
            verdicts = difference_verdicts(each)
            assert [c.p for c in line] == pytest.approx(verdicts.p.tolist(), rel=1e-3)


@pytest.mark.parametrize("rule", [Rule.gate, Rule.compare])
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_the_simulated_gate_is_the_real_one(rule, shift):
    setup = Setup(3, 5, 6, images=0, rule=rule, shift=shift)
    test = RegressionTest.of("top1", 0.0, two_sided=rule is Rule.compare)
    verdicts_of = difference_verdicts if test.two_sided else regression_verdicts
    rng = np.random.default_rng(1)
    for _ in range(8):
        before, now = rng.normal(75, 1, (1, 6, 3)), rng.normal(74, 1, (1, 6, 5))
        gain, relative = gains(setup, before, now)
        expected = verdicts_of(gain, 0.0, relative)
        teachers = ("a",) if shift else (), ("b",) if shift else ()
        sides = [
            [
                Cell("t/s", str(i), metrics={"top1": Measured.of(dict(enumerate(row)))}, teachers=t)
                for i, row in enumerate(runs[0].tolist())
            ]
            for runs, t in zip((before, now), teachers, strict=True)
        ]
        real = test.verdicts([Match(*pair) for pair in zip(*sides, strict=True)])
        assert [each.outcome for each in real] == expected.verdict[0].tolist()
        assert [each.p for each in real] == pytest.approx(expected.p[0].tolist(), rel=1e-3)


def settled(cells, n, effect, tolerance, two_sided):
    """The share of simulated tables in which the first cell is decided with n seeds per side."""
    rng = np.random.default_rng(7)
    runs = SPREAD * rng.normal(size=(2, TABLES, cells, n))
    runs[1, :, 0] -= effect
    gain, _ = gains(Setup(n, n, cells, images=0), *runs)
    rule = difference_verdicts if two_sided else regression_verdicts
    return (rule(gain, tolerance).verdict[:, 0] != "inconclusive").mean()


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("cells", [1, 13, 40])
@pytest.mark.parametrize(
    ("effect", "tolerance"), [(0.3, 0.0), (0.6, 0.5), (0.55, 0.5), (0.7, 0.5), (0.0, 0.25)]
)
def test_seeds_that_would_decide_decide_in_80_percent(cells, effect, tolerance, two_sided):
    both = samples(SPREAD * np.random.default_rng(0).normal(size=(cells, 3)))
    shared = prior(pooled(both, samples(SPREAD * np.random.default_rng(1).normal(size=(cells, 3)))))
    design = Design(2**0.5 * SPREAD, 2, 2 * (cells - 1), shared, tolerance)
    if effect > tolerance:
        n = design.seeds_beyond(effect, 0.05 / cells / (2 if two_sided else 1))
    else:
        n = design.seeds_within(effect, 0.05, both=two_sided)
    assert 3 < n <= 100
    assert 0.75 <= settled(cells, n, effect, tolerance, two_sided) <= 0.90


def test_the_command_prints_false_alarms_first_then_power():
    options = "--before 3 --now 3 --cells 13 --tables 400 --drop 2"
    lines = printed("tests.statistics.simulate", *options.split())
    assert lines[0].startswith("false alarms: ")
    assert lines[0].endswith(" of 400 tables")
    assert lines[1].startswith("power: ")
    assert share(840, 20_000) == "4.2 % [3.9, 4.5]"


def test_moderation_of_no_cells_in_common_changes_nothing():
    alone = moderated(Variances(np.array([[0.04]]), np.array([[4.0]])))
    assert (alone.value, alone.df) == (0.04, 4.0)
