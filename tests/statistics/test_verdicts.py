"""What is better, the same, worse or inconclusive; and how many seeds would tell."""

import numpy as np
import pytest
from scipy.special import digamma

from bench.stats.comparison import compare_to_baseline, difference_verdicts, regression_verdicts
from bench.stats.estimates import Difference, Samples, moderated, paired, resolution, samples

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


def test_judge_pairs_the_seeds_where_both_sides_have_the_same():
    [result] = compare_to_baseline([(BASE, shifted(0.5))])
    own = shifted(0.5)
    step = resolution([*BASE.values(), *own.values()])
    direct = paired([BASE[s] for s in range(5)], [own[s] for s in range(5)], step)
    assert (result.verdict, result.paired) == ("better", True)
    assert (result.mean, result.p) == pytest.approx(
        (float(direct.mean), float(direct.p_two_sided()))
    )
    assert result.low < result.mean < result.high
    assert result.seeds is None


def test_judge_takes_other_seeds_as_independent():
    other = {seed + 7: value for seed, value in shifted(0.5).items()}
    [result] = compare_to_baseline([(BASE, other)])
    assert (result.verdict, result.paired) == ("better", False)
    [fewer] = compare_to_baseline([(BASE, {0: 75.0, 1: 75.3})])
    assert fewer.paired is False


def test_judge_knows_where_less_is_better():
    assert compare_to_baseline([(BASE, shifted(0.5))], higher=False)[0].verdict == "worse"
    assert compare_to_baseline([(BASE, shifted(-0.5))], higher=False)[0].verdict == "better"


def test_single_seeds_are_never_compared():
    [result] = compare_to_baseline([({0: 70.0}, {0: 90.0})])
    assert (result.verdict, result.mean, result.p, result.low) == ("inconclusive", 20.0, None, None)
    assert compare_to_baseline([(BASE, {0: 90.0})])[0].verdict == "inconclusive"
    assert compare_to_baseline([]) == []


def test_inconclusive_comparison_has_the_number_of_seeds_needed():
    wide = {seed: value + (0.3 if seed % 2 else -0.1) for seed, value in BASE.items()}
    [result] = compare_to_baseline([(BASE, wide)], tolerance=0.2)
    assert result.verdict == "inconclusive"
    assert 5 < result.seeds < 20
    [longer] = compare_to_baseline([(BASE, wide)], tolerance=0.1)
    assert longer.seeds > 2 * result.seeds
    [hopeless] = compare_to_baseline([(BASE, shifted(0.0001, 0.4))], tolerance=0.0)
    assert (hopeless.verdict, hopeless.seeds) == ("inconclusive", None)


def test_a_larger_family_needs_more_seeds():
    wide = {seed: value + (0.4 if seed % 2 else 0.0) for seed, value in BASE.items()}
    alone, *_ = compare_to_baseline([(BASE, wide)])
    crowd = compare_to_baseline([(BASE, wide)] * 30)
    assert alone.verdict == crowd[0].verdict == "inconclusive"
    assert crowd[0].seeds > alone.seeds + 10


def test_a_clear_same_within_the_tolerance():
    assert compare_to_baseline([(BASE, shifted(0.01))], tolerance=0.5)[0].verdict == "same"


def test_shared_noise_recovers_how_much_the_cells_agree():
    rng = np.random.default_rng(0)
    variances = 0.09 * 6 / rng.chisquare(6, 20_000)  # d0 = 6, s0 = 0.3
    result = samples(rng.normal(0, np.sqrt(variances)[:, None], (20_000, 5)))
    assert moderated(result).df[0] - result.df[0] == pytest.approx(6, rel=0.1)
    alike = samples(rng.normal(0, 0.3, (20_000, 5)))
    assert moderated(alike).df[0] == 4 + 10


def test_shared_noise_is_the_formula():
    std = np.array([0.25, 0.28, 0.3, 0.32, 0.33, 0.35])
    given = Samples(np.zeros(6), std, np.full(6, 4.0), np.full(6, 3.0))
    result = moderated(given)
    borrowed = result.df[0] - 3
    assert borrowed == 15 / 4  # a quarter of what the five others have
    level = ((borrowed + 3) * result.std[:2] ** 2 - 3 * std[:2] ** 2) / borrowed
    # no scatter beyond chance: s0 is the geometric mean, freed of the bias of log s
    bias = np.exp(-(digamma(1.5) - np.log(1.5)))
    assert level == pytest.approx(np.exp(np.log(std**2).mean()) * bias, rel=1e-4)


def test_no_spread_falls_below_a_cell_s_own():
    std = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 2.0])
    result = moderated(Samples(np.zeros(6), std, np.full(6, 4.0), np.full(6, 3.0)))
    assert (result.std >= std).all()
    assert result.std[0] > 1.5 * std[0]
    assert result.std[-1] == std[-1]


def test_too_few_or_too_short_cells_share_nothing():
    three = Samples(np.zeros(3), np.array([0.1, 0.2, 0.3]), np.full(3, 5.0), np.full(3, 4.0))
    assert (moderated(three).std == three.std).all()
    twos = Samples(np.zeros(8), np.linspace(0.1, 0.8, 8), np.full(8, 2.0), np.full(8, 1.0))
    assert (moderated(twos).df == 1).all()
    flat = Samples(np.zeros(8), np.zeros(8), np.full(8, 3.0), np.full(8, 2.0))
    assert (moderated(flat).std == 0).all()


def test_a_table_at_once_is_its_tables_one_by_one():
    rng = np.random.default_rng(3)
    many = samples(rng.normal(0, rng.uniform(0.1, 0.9, (4, 9, 1)), (4, 9, 5)))
    for i in range(4):
        each = Samples(*(getattr(many, key)[i] for key in ("mean", "std", "n", "df")))
        assert moderated(many).std[i] == pytest.approx(moderated(each).std)
