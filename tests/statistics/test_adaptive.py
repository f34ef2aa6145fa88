"""`seeds: {first, most, until: settled}`: levels of looks, false alarms over all looks, power."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtr

from bench.stats.comparison import compare_to_baseline
from bench.stats.sequential import Looked, Looks, compare_in_looks, look
from tests.command import printed
from tests.statistics.adaptive import Tables, alarms, check_alarms, looked, reruns, simulated
from tests.statistics.simulate import Noise, Setup
from tests.statistics.test_promises import at_most

RERUNS = Path(__file__).parents[2] / "results" / "reruns" / "quickstart-part.csv"


def of_table(base, methods):
    """One pair: the values by seed of the reference method and of all methods."""
    return [(dict(enumerate(base)), [dict(enumerate(row)) for row in methods])]


@pytest.mark.parametrize(("first", "most"), [(2, 3), (2, 10), (3, 10), (5, 20)])
@pytest.mark.parametrize("level", [0.05, 0.002])
def test_levels_are_exact_for_the_t_test_of_one_comparison(first, most, level):
    looks, tables = Looks(first, most), 40_000
    runs = np.random.default_rng(0).normal(size=(tables, most))
    two_sided, above = np.zeros((2, tables), dtype=bool)
    for n in range(first, most + 1):
        part = runs[:, :n]
        p = stdtr(n - 1, -part.mean(1) / part.std(1, ddof=1) * n**0.5)
        two_sided |= looks.corrected(2 * np.minimum(p, 1 - p), n) < level
        above |= p < looks.level(n, level)
    for flags in (two_sided, above):
        assert 1 - at_most(1 - level, tables) <= flags.mean() <= at_most(level, tables)


def test_levels_grow_and_the_first_is_the_spending_function():
    looks = Looks(3, 10)
    levels = [looks.level(n, 0.05) for n in range(3, 11)]
    assert levels[0] == pytest.approx(0.05 * 0.3**3, rel=2e-3)
    assert levels == sorted(levels)
    assert levels[-1] < 0.05


def test_the_corrected_p_inverts_the_level():
    looks = Looks(2, 6)
    for n in range(2, 7):
        p = 2 * looks.level(n, 0.01)
        assert looks.corrected(np.array([p]), n)[0] == pytest.approx(0.02, rel=1e-3)
        assert looks.corrected(np.array([1.0, 1e-200]), n).tolist() == [1.0, pytest.approx(2e-12)]


@pytest.mark.parametrize("noise", list(Noise))
@pytest.mark.parametrize("cells", [1, 2, 13])
def test_at_most_5_percent_of_tables_have_a_false_alarm_at_any_look(noise, cells):
    for first, most in [(2, 3), (2, 6), (3, 10)]:
        setup, tables = Setup(most, most, cells, noise), 1000
        flags = alarms(setup, Looks(first, most), tables, seed=1)
        assert flags.mean() <= at_most(0.05, tables), (first, most)


@pytest.mark.parametrize("images", [100, 1000])
def test_coarse_accuracies_raise_no_more_alarms_at_any_look(images):
    for cells in (1, 13):
        setup = Setup(10, 10, cells, images=images)
        assert alarms(setup, Looks(2, 10), 1000, seed=1).mean() <= at_most(0.05, 1000)


def test_a_check_of_tables_with_unequal_seeds_raises_no_more_alarms():
    for cells in (1, 13):
        setup = Setup(10, 10, cells)
        assert check_alarms(setup, Looks(3, 10), 1000, seed=1).mean() <= at_most(0.05, 1000)


def test_looks_can_raise_alarms():
    assert alarms(Setup(10, 10, 1), Looks(3, 10), 2000, seed=1).mean() > 0.03


def test_a_drop_is_found_as_often_as_with_all_seeds():
    setup = Setup(10, 10, 13)
    tables = simulated(setup, 0.0, 1000, 0, drop=2.0)
    verdicts, seeds = looked(tables.base, tables.methods, Looks(3, 10), 0.0, tables.least)
    power = (verdicts[:, 0] == "worse").mean()
    assert power > 0.7
    assert seeds[:, 0].mean() < 8.5


@pytest.mark.parametrize("tolerance", [0.0, 0.4])
def test_the_simulated_looks_are_the_real_ones(tolerance):
    rng, looks = np.random.default_rng(2), Looks(2, 8)
    for methods in (1, 2, 5):
        base = rng.normal(size=(12, 1, 8))
        others = rng.normal(size=(12, methods, 8)) + 3 * rng.normal(size=(12, methods, 1))
        verdicts, seeds = looked(base, others, looks, tolerance, 0.0)
        for i in range(12):
            table = of_table(base[i, 0], others[i])
            real = compare_in_looks(table, looks, range(8), tolerance)
            [line] = real.comparisons
            assert [each.verdict for each in line] == verdicts[i].tolist()
            # a settled comparison has used its first seeds only
            for j, each in enumerate(line):
                n = seeds[i, j]
                assert each.mean == pytest.approx(others[i, j, :n].mean() - base[i, 0, :n].mean())


def test_a_settled_comparison_keeps_its_verdict_and_needs_no_more_values():
    rng, looks, seeds = np.random.default_rng(0), Looks(3, 8), range(8)
    base, far, near = rng.normal(size=(3, 8))
    [(reference, methods)] = of_table(base, [far + 20, near])
    first = compare_in_looks([(reference, methods)], looks, seeds[:3])
    assert first.open == {(0, 1)}
    stopped = [{s: methods[0][s] for s in range(3)}, methods[1]]
    complete = compare_in_looks([(reference, methods)], looks, seeds)
    assert compare_in_looks([(reference, stopped)], looks, seeds).comparisons == (
        complete.comparisons
    )
    assert complete.comparisons[0][0] == first.comparisons[0][0]
    assert complete.comparisons[0][0].verdict == "better"


def test_a_method_without_a_value_has_no_further_look():
    rng, looks = np.random.default_rng(0), Looks(3, 6)
    [(reference, methods)] = of_table(rng.normal(size=6), rng.normal(size=(2, 6)))
    gap = [{s: v for s, v in methods[0].items() if s != 3}, methods[1]]
    result = compare_in_looks([(reference, gap)], looks, range(6))
    before = compare_in_looks([(reference, methods)], looks, range(3))
    assert result.comparisons[0][0] == before.comparisons[0][0]
    assert (0, 0) not in result.open
    without = {s: v for s, v in reference.items() if s != 0}
    result = compare_in_looks([(without, methods)], looks, range(6))
    assert not result.open
    assert result.comparisons[0][0].p is None


def test_one_look_after_all_seeds_is_the_usual_test_with_a_smaller_level():
    rng = np.random.default_rng(0)
    table = of_table(rng.normal(size=4), rng.normal(size=(3, 4)))
    looks = Looks(4, 5)
    looked_at = look(Looked.before(table), table, looks, range(4))
    for mine, usual in zip(looked_at.comparisons[0], compare_to_baseline(table)[0], strict=True):
        assert (mine.mean, mine.low, mine.high) == (usual.mean, usual.low, usual.high)
        assert mine.p >= usual.p


def test_looks_save_runs_in_the_quickstart_s_36_seeds():
    tables = reruns(RERUNS, "kd", 200, 0, 900)
    assert tables.base.shape == (200, 1, 36)
    verdicts, seeds = looked(tables.base, tables.methods, Looks(3, 20), 0.5, tables.least)
    settled = (verdicts != "inconclusive").mean()
    assert settled > Tables(tables.base, tables.methods, tables.least).settled(18, 0.5)
    assert (seeds.sum(1) + seeds.max(1)).mean() < 0.95 * 18 * 14


def test_the_command_prints_false_alarms_first():
    options = "--first 2 --most 4 --cells 3 --tables 400 --drop 2"
    lines = printed("tests.statistics.adaptive", *options.split())
    assert lines[0].startswith("false alarms: ")
    assert lines[0].endswith(" of 400 tables")
    assert lines[2].startswith("power: ")
