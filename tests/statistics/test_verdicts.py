"""What is better, the same, worse or inconclusive; and how many seeds would tell."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma

from bench.stats.comparison import (
    compare_to_baseline,
    difference_verdicts,
    regression_verdicts,
    without_shared_shift,
)
from bench.stats.estimates import Difference, Variances, moderated, prior, samples

BASE = {0: 74.9, 1: 75.1, 2: 74.8, 3: 75.2, 4: 75.0}


def shifted(by, scatter=0.02):
    return {seed: value + by + scatter * (-1) ** seed for seed, value in BASE.items()}


def differences(*rows):
    return Difference(*np.array(rows, dtype=float).T)


def test_the_four_verdicts():
    rows = (1.0, 0.1, 8), (-1.0, 0.1, 8), (0.05, 0.1, 8), (0.4, 0.3, 8), (0.45, 0.1, 8)
    result = difference_verdicts(differences(*rows), tolerance=0.5)
    # the last: certainly a gain, but neither shown to be within the tolerance nor measured beyond
    assert list(result.verdict) == ["better", "worse", "same", "inconclusive", "inconclusive"]


def test_without_a_tolerance_nothing_is_the_same():
    result = difference_verdicts(differences((1.0, 0.1, 8), (0.0, 1e-9, 8)))
    assert list(result.verdict) == ["better", "inconclusive"]


def test_the_gate_s_three_verdicts():
    rows = (
        (-2.0, 0.2, 8),
        (-0.6, 0.5, 8),
        (-0.1, 0.1, 8),
        (-0.3, 0.1, 8),
        (-0.45, 0.05, 8),
        (3, 1, 8),
    )
    result = regression_verdicts(differences(*rows), tolerance=0.5)
    assert list(result.verdict) == [
        "regression",  # lost more than 0.5, and 0 is ruled out
        "inconclusive",  # lost more than 0.5, perhaps by noise
        "pass",  # -0.1 - 1.86 * 0.1 > -0.5
        "pass",  # a real loss, within the tolerance
        "inconclusive",  # a real loss, perhaps beyond the tolerance
        "pass",
    ]


def test_a_family_corrects_alarms_but_not_passes():
    row = (-1.0, 0.3, 8)  # one-sided p 0.005
    assert list(regression_verdicts(differences(row), 0.5).verdict) == ["regression"]
    crowd = regression_verdicts(differences(row, *[(0.0, 0.2, 8)] * 20), 0.5)
    assert list(crowd.verdict) == ["inconclusive", *["pass"] * 20]
    assert crowd.p[0] == pytest.approx(21 * regression_verdicts(differences(row), 0.5).p[0])


def compare(base, *methods, **options):
    [line] = compare_to_baseline([(base, methods)], **options)
    return line


def test_seeds_are_paired_if_both_methods_have_the_same():
    own = shifted(0.5, 0.2)
    [result] = compare(BASE, own)
    theirs = stats.ttest_rel([own[s] for s in range(5)], [BASE[s] for s in range(5)])
    assert (result.verdict, result.paired, result.seeds) == ("better", True, None)
    assert (result.mean, result.p) == pytest.approx((0.54, theirs.pvalue))
    assert result.low < result.mean < result.high


def test_what_all_methods_of_a_seed_share_does_not_count_as_noise():
    jumps = {0: 0.0, 1: 4.0, 2: -3.0, 3: 1.0, 4: -2.0}
    methods = [shifted(0.5, 0.2), shifted(0.0, 0.3), shifted(0.1, -0.3)]
    alone = compare(BASE, *methods)
    moved = [{s: v + jumps[s] for s, v in cell.items()} for cell in (BASE, *methods)]
    assert [c.p for c in compare(*moved)] == pytest.approx([c.p for c in alone])
    assert alone[0].p < 0.1


def test_other_seeds_are_independent():
    other = {seed + 7: value for seed, value in shifted(0.5).items()}
    [result] = compare(BASE, other)
    assert (result.verdict, result.paired) == ("better", False)
    [fewer] = compare(BASE, {0: 75.0, 1: 75.3})
    assert fewer.paired is False
    both = compare(BASE, shifted(0.5), other)
    assert [c.paired for c in both] == [True, False]


def test_lower_can_be_better():
    assert compare(BASE, shifted(0.5), higher=False)[0].verdict == "worse"
    assert compare(BASE, shifted(-0.5), higher=False)[0].verdict == "better"


def test_single_seeds_are_never_compared():
    [result] = compare({0: 70.0}, {0: 90.0})
    assert (result.verdict, result.mean, result.p, result.low) == ("inconclusive", 20.0, None, None)
    assert compare(BASE, {0: 90.0})[0].verdict == "inconclusive"
    assert compare_to_baseline([]) == []


def test_inconclusive_comparison_has_the_number_of_seeds_needed():
    wide = {seed: value + (0.3 if seed % 2 else -0.1) for seed, value in BASE.items()}
    [result] = compare(BASE, wide, tolerance=0.2)
    assert result.verdict == "inconclusive"
    assert 5 < result.seeds < 20
    [longer] = compare(BASE, wide, tolerance=0.1)
    assert longer.seeds > 2 * result.seeds
    [hopeless] = compare(BASE, shifted(0.0001, 0.4), tolerance=0.0)
    assert (hopeless.verdict, hopeless.seeds) == ("inconclusive", None)


def test_a_larger_family_needs_more_seeds():
    wide = {seed: value + (0.4 if seed % 2 else 0.0) for seed, value in BASE.items()}
    [alone] = compare(BASE, wide)
    crowd = compare_to_baseline([(BASE, [wide])] * 30)
    assert alone.verdict == "inconclusive"
    assert crowd[0][0].p > 5 * alone.p


def test_a_clear_same_within_the_tolerance():
    assert compare(BASE, shifted(0.01), tolerance=0.5)[0].verdict == "same"


def test_variances_with_a_common_level_are_recovered():
    rng = np.random.default_rng(0)
    variances = 0.09 * 6 / rng.chisquare(6, 20_000)  # d0 = 6, s0 = 0.3
    runs = samples(rng.normal(0, np.sqrt(variances)[:, None], (20_000, 5)))
    assert prior(Variances(runs.std**2, runs.n - 1)).degrees == pytest.approx(6, rel=0.1)
    alike = samples(rng.normal(0, 0.3, (20_000, 5)))
    result = prior(Variances(alike.std**2, alike.n - 1))
    assert result.degrees > 100
    assert result.level == pytest.approx(0.09, rel=0.02)


def variances(std, df=3.0):
    return Variances(np.array(std) ** 2, np.full(len(std), df))


def test_moderation_is_the_formula():
    cells = variances([0.25, 0.28, 0.3, 0.32, 0.33, 0.35])
    result = moderated(cells)
    borrowed = result.df[0] - 3
    assert borrowed == 15 / 4  # a quarter of the degrees of freedom of the five others
    level = ((borrowed + 3) * result.value[:2] - 3 * cells.value[:2]) / borrowed
    # the geometric mean, without the bias of log s²
    bias = np.exp(-(digamma(1.5) - np.log(1.5)))
    assert level == pytest.approx(np.exp(np.log(cells.value).mean()) * bias, rel=1e-6)


def test_no_variance_falls_below_a_cell_s_own():
    cells = variances([0.1, 0.2, 0.3, 0.4, 0.5, 2.0])
    result = moderated(cells)
    assert (result.value >= cells.value).all()
    assert result.value[0] > 2 * cells.value[0]
    assert result.value[-1] == cells.value[-1]


def test_a_single_cell_and_cells_without_spread_borrow_nothing():
    one = variances([0.3])
    assert (moderated(one).value[0], moderated(one).df[0]) == (pytest.approx(0.09), 3.0)
    flat = variances([0.0] * 8)
    assert (moderated(flat).value == 0).all()
    assert (moderated(flat).df == 3).all()


def test_a_table_at_once_is_its_tables_one_by_one():
    rng = np.random.default_rng(3)
    runs = samples(rng.normal(0, rng.uniform(0.1, 0.9, (4, 9, 1)), (4, 9, 5)))
    many = Variances(runs.std**2, runs.n - 1)
    for i in range(4):
        each = moderated(Variances(many.value[i], many.df[i]))
        assert moderated(many).value[i] == pytest.approx(each.value)


def test_a_shift_of_all_cells_is_no_regression_and_one_cell_s_drop_beyond_it_is():
    shared = differences(*[(-2.0, 0.2, 8)] * 5, (-5.0, 0.2, 8))
    relative = without_shared_shift(shared, ["a"] * 6)
    assert relative.mean == pytest.approx([0, 0, 0, 0, 0, -3])
    result = regression_verdicts(shared, 0.5, relative)
    assert list(result.verdict) == ["inconclusive"] * 5 + ["regression"]
    untouched = without_shared_shift(shared, [None] * 6)
    assert list(regression_verdicts(shared, 0.5, untouched).verdict) == ["regression"] * 6
    two = without_shared_shift(shared, ["a"] * 2 + [None] * 4)
    assert list(regression_verdicts(shared, 0.5, two).verdict)[:2] == ["inconclusive"] * 2


def test_a_cell_that_stays_while_others_rise_is_no_regression():
    gains = differences(*[(2.0, 0.2, 8)] * 5, (0.1, 0.2, 8))
    result = regression_verdicts(gains, 0.5, without_shared_shift(gains, ["a"] * 6))
    assert list(result.verdict) == ["pass"] * 6
