"""Statistics against textbooks, scipy's own tests, and arithmetic by hand."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.stats.comparison import (
    compare_to_baseline,
    contrasts,
    holm,
    ranks,
    relative_improvement,
)
from bench.stats.estimates import (
    SKEWNESS,
    Difference,
    Variances,
    difference,
    interval,
    moderated,
    pooled,
    resolution,
    samples,
    skewness,
    within_seeds,
)
from bench.stats.power import Design

PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "crd.csv"
# "Student" (Gosset), The probable error of a mean, Biometrika 6, 1908: extra hours of sleep
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_interval_is_that_of_the_t_distribution():
    low, high = interval([74.9, 75.0, 74.5])
    assert (low + high) / 2 == pytest.approx(74.8)
    # t(0.975, 2) = 4.302653, over the square root of 3
    assert high - 74.8 == pytest.approx(4.302653 * 0.264575 / 3**0.5, rel=1e-5)
    expected = stats.t.interval(0.95, 9, np.mean(DRUG_1), stats.sem(DRUG_1))
    assert interval(DRUG_1) == pytest.approx(expected)


def test_a_single_run_has_no_interval():
    assert interval([74.9]) is None


def by_seed(values):
    return dict(enumerate(values))


def test_sleep_paired():
    [[result]] = compare_to_baseline([(by_seed(DRUG_1), [by_seed(DRUG_2)])])
    assert result.p == pytest.approx(0.002833, abs=5e-7)
    assert (result.low, result.high) == pytest.approx((0.7001142, 2.4598858), abs=5e-7)
    assert result.p == pytest.approx(stats.ttest_rel(DRUG_2, DRUG_1).pvalue)


def test_sleep_unpaired():
    sides = samples(DRUG_1), samples(DRUG_2)
    result = difference(*sides, pooled(*sides))
    assert (result.df, result.skew) == (18, 0)
    assert result.p_two_sided() == pytest.approx(0.07918671, abs=5e-8)
    assert np.ravel(result.interval()) == pytest.approx((-0.203874, 3.363874), abs=5e-7)


def test_pooled_variance_is_scipy_s_test_without_the_allowance_for_skewness():
    left, right = [73.1, 74.0, 73.2], [72.0, 73.9, 72.3, 71.9, 72.0]
    sides = samples(left), samples(right)
    cautious = difference(*sides, pooled(*sides))
    ours = replace(cautious, skew=0.0)
    theirs = stats.ttest_ind(right, left)
    assert (ours.p_two_sided().item(), ours.df) == pytest.approx((theirs.pvalue, theirs.df))
    assert cautious.p_two_sided() > 1.1 * theirs.pvalue
    less = stats.ttest_ind(right, left, alternative="less")
    assert ours.p_below() == pytest.approx(less.pvalue)
    more = stats.ttest_ind(np.array(right) + 0.5, left, alternative="greater")
    assert ours.p_above(-0.5) == pytest.approx(more.pvalue)


def test_degrees_of_freedom_of_two_variances_are_welch_s_or_fewer():
    """Two of three cells differ by far, so that no cell borrows degrees of freedom."""
    std = np.array([0.001, 1.0, 1000.0])
    cells = Variances(std**2, np.array([4.0, 9.0, 9.0]))
    parts, n = np.array([[0, 1], [1, 2]]), np.array([[5.0, 10.0], [10.0, 10.0]])
    borrowed = moderated(cells).df - cells.df
    assert (borrowed < 0.6).all()
    result = contrasts(np.zeros(2), cells, parts, n)
    noise = moderated(cells)
    for k, (i, j) in enumerate(parts):
        shares = noise.value[[i, j]] / n[k]
        welch = shares.sum() ** 2 / (shares**2 / noise.df[[i, j]]).sum()
        equal = (1 / n[k]).sum() ** 2 / (1 / (n[k] ** 2 * noise.df[[i, j]])).sum()
        assert result.df[k] == pytest.approx(min(welch, equal))
        assert result.error[k] ** 2 == pytest.approx(shares.sum())


def test_skewness_of_a_difference_of_means():
    """The third cumulant of a mean of n values is γ / n²; it cancels for equal n."""
    assert skewness(5, 5) == 0
    draws = np.random.default_rng(0).exponential(size=(400_000, 12))
    gaps = draws[:, :2].mean(1) - draws[:, 2:].mean(1)
    assert skewness(2, 10) == pytest.approx(SKEWNESS / 2 * stats.skew(gaps), rel=0.02)
    assert skewness(10, 2) == skewness(2, 10)


@pytest.mark.parametrize("skew", [0.2, 0.7, 1.4])
def test_p_with_skewness_is_a_gamma_tail(skew):
    shape = 4 / skew**2
    result = Difference(np.array(-3.0), np.array(1.0), np.array(1e9), skew)
    assert result.p_below() == pytest.approx(
        stats.gamma.sf(shape + 3 * shape**0.5, shape), rel=1e-5
    )
    symmetric = replace(result, skew=0.0)
    assert result.p_below() > symmetric.p_below() == pytest.approx(stats.norm.cdf(-3), rel=1e-5)
    assert replace(result, mean=np.array(1.0)).p_below() == pytest.approx(stats.norm.cdf(1))


@pytest.mark.parametrize("skew", [0.0, 0.4, 1.4])
def test_ends_of_an_interval_have_the_p_of_their_confidence(skew):
    result = Difference(np.array(0.7), np.array(0.3), np.array(6.0), skew)
    low, high = result.interval(0.9)
    assert result.p_above(low) == pytest.approx(0.05)
    assert result.p_below(high) == pytest.approx(0.05)


def test_zero_spread_counts_as_exact():
    same, less = (Difference(*map(np.array, (mean, 0.0, 1.0))) for mean in (0.0, -0.5))
    assert (same.p_two_sided(), same.interval()) == (1.0, (0.0, 0.0))
    assert (less.p_below(), less.p_above(), less.p_below(-0.5)) == (0.0, 1.0, 0.5)


def test_spread_is_not_below_that_of_rounding():
    step = 100 / 360
    base = {0: 97.0, 1: 96.0, 2: 98.0}
    [[result]] = compare_to_baseline([(base, [{s: v - step for s, v in base.items()}])])
    # two roundings, each step / √12, over three seeds; t(0.975, 2) = 4.302653
    reach = 4.302653 * step * (2 / 12) ** 0.5 / 3**0.5
    # the smallest step of these values is 360 images' or more precisely what two values differ by
    assert result.high - result.mean == pytest.approx(reach, rel=1e-4)


def test_variance_within_seeds_is_that_of_an_analysis_of_variance():
    runs = np.random.default_rng(0).normal(size=(4, 6)) + 10 * np.arange(6)
    result = within_seeds(runs)
    grand = runs - runs.mean(0) - runs.mean(1, keepdims=True) + runs.mean()
    mean_square = (grand**2).sum() / (3 * 5)  # residual mean square of a two-way layout
    assert result.value.mean() == pytest.approx(mean_square)
    assert result.df.sum() == 3 * 5
    pair = within_seeds(runs[:2])
    assert pair.value == pytest.approx([np.var(runs[0] - runs[1], ddof=1) / 2] * 2)


def test_resolution_is_the_smallest_real_step():
    accuracies = np.float32(100) * np.float32([0.95, 0.9525, 0.96, 0.96]).astype(float)
    assert resolution(accuracies) == pytest.approx(0.25, rel=1e-5)
    assert resolution([97.22222137451172, 97.22222900390625]) == 0.0
    assert (resolution([]), resolution([3.0, 3.0])) == (0.0, 0.0)


def test_holm_by_hand():
    result = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert result == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])
    both = holm(np.array([[0.01, 0.04, 0.03, 0.005], [0.04, 0.01, 0.005, 0.03]]))
    assert both == pytest.approx(np.array([[0.03, 0.06, 0.06, 0.02], [0.06, 0.03, 0.02, 0.06]]))


@pytest.mark.parametrize(
    ("methods", "quantile"), [(3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)]
)
def test_nemenyi_s_quantiles_are_demsar_s_table_5(methods, quantile):
    result = ranks(np.random.default_rng(0).normal(size=(7, methods)))
    assert result.critical / (methods * (methods + 1) / 42) ** 0.5 == pytest.approx(
        quantile, abs=1e-3
    )


def test_friedman_by_hand_and_by_scipy():
    accuracy = np.array([[70, 72, 75], [71, 73, 72], [60, 62, 64], [80, 81, 85]])
    result = ranks(accuracy)
    assert result.average == (3.0, 1.75, 1.25)
    # 12 N / (k (k + 1)) (Σ R² - k (k + 1)² / 4) = 4 (9 + 3.0625 + 1.5625 - 12)
    assert result.statistic == pytest.approx(6.5)
    assert result.p == pytest.approx(stats.friedmanchisquare(*accuracy.T).pvalue)
    assert ranks(-accuracy, higher=False).average == result.average
    assert result.pairs == 4


def test_demsar_s_example_of_a_critical_distance():
    """Four classifiers on 14 data sets: CD = 1.25 (JMLR 7, 2006, section 3.2.4)."""
    assert ranks(np.random.default_rng(0).normal(size=(14, 4))).critical == pytest.approx(
        1.25, abs=5e-3
    )


def test_ranks_with_ties_and_without_any_difference():
    assert ranks([[1, 1, 2], [1, 1, 2]]).average == (2.5, 2.5, 1.0)
    flat = ranks(np.ones((3, 3)))
    assert (flat.average, flat.statistic, flat.p) == ((2.0, 2.0, 2.0), 0.0, 1.0)


@pytest.mark.parametrize("table", [[[1.0, 2.0, float("nan")]] * 2, [[1, 2], [2, 1]], [[1, 2, 3]]])
def test_ranks_need_a_complete_table(table):
    with pytest.raises(ValueError, match="at least 2 pairs and 3 methods"):
        ranks(table)


def test_crd_s_57_percent_from_its_13_pairs():
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        lines = [each for each in csv.DictReader(file) if each["table"] in ("Table 1", "Table 2")]
    result = {
        method: {
            (each["teacher"], each["student"]): float(each["value"])
            for each in lines
            if each["method"] == method
        }
        for method in ("Student", "KD", "CRD")
    }
    assert {len(each) for each in result.values()} == {13}
    columns = [[each[pair] for pair in result["KD"]] for each in result.values()]
    assert 100 * relative_improvement(*columns) == pytest.approx(56.8, abs=0.05)


def test_relative_improvement_by_hand_and_refused():
    assert relative_improvement([70, 60], [72, 61], [73, 61]) == pytest.approx((0.5 + 0) / 2)
    with pytest.raises(ValueError, match="differs from the student"):
        relative_improvement([70, 60], [70, 61], [73, 61])


def seeds(effect, spread, alpha, groups=2):
    return Design(spread, groups).seeds_beyond(effect, alpha)


def test_seeds_needed_are_those_of_the_tables_of_power():
    # Cohen, Statistical Power Analysis, table 2.4.1: medium effect, 80 %, two groups
    assert seeds(0.5, 2**0.5, 0.025) == pytest.approx(64, abs=1)
    assert seeds(0.5, 2**0.5, 0.05) == pytest.approx(51, abs=1)
    assert seeds(0.8, 2**0.5, 0.025) == pytest.approx(26, abs=1)
    assert seeds(0.5, 1.0, 0.025, groups=1) == pytest.approx(34, abs=1)
    assert seeds(0.5, 1.0, 0.05, groups=1) == pytest.approx(27, abs=1)


def test_seeds_needed_at_the_ends():
    assert seeds(0.1, 1.0, 0.05) is None
    assert seeds(0.0, 1.0, 0.05) is None
    assert seeds(5.0, 0.0, 0.05) == 2
    assert seeds(1000.0, 0.1, 0.05) == 2
    assert Design(0.5, 2, tolerance=0.5).seeds_beyond(0.5, 0.05) is None
    assert Design(0.5, 2, tolerance=0.5).seeds_within(0.5, 0.05) is None
    within = Design(0.5, 2, tolerance=0.5)
    assert within.seeds_within(0.0, 0.05, both=True) > within.seeds_within(0.0, 0.05)
    assert within.seeds_within(0.0, 0.05, least=40) == 40


def test_a_turned_difference_is_a_gain_where_less_is_better():
    result = Difference(np.array([0.3]), np.array([0.1]), np.array([4.0]))
    assert result.as_gain(False).p_below() == pytest.approx(result.p_above())
    assert result.as_gain(False).mean == -0.3
