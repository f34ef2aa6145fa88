"""The statistics of tables: against scipy directly, on the committed quickstart and by hand."""

from pathlib import Path

import numpy as np
import pytest
from report_factory import PAIRS, cells, many, near, probe_about, probe_entries, record
from scipy import stats

from bench import api
from bench.errors import BenchError
from bench.report import build, published
from bench.report.statistics import statistics
from bench.report.table import About, Entry, table
from bench.report.table import tables as tables_of
from bench.results import Results

QUICKSTART = Path(__file__).parents[2] / "results" / "quickstart"
ABOUT = About("T")


def of(entries, about=ABOUT, metric="top1"):
    return statistics(table(entries, about, metric))


def line(found, method, pair=0):
    return next(one for one in found.pairs[pair].lines if one.row.name == method)


def judgement(found, method, pair=0):
    return line(found, method, pair).cell.judgement


def holm(values):
    """Holm's correction, step by step as its paper has it."""
    corrected, most = {}, 0.0
    for place, name in enumerate(sorted(values, key=values.get)):
        most = max(most, (len(values) - place) * values[name])
        corrected[name] = min(1.0, most)
    return corrected


@pytest.fixture(scope="module")
def quickstart():
    """Its statistics, and its accuracies by method and seed, read without the code under test."""
    whole, results = api.load_plan("quickstart"), Results(QUICKSTART)
    values = {}
    for cell in whole.cells:
        last = results.record(cell.run)["metrics"]["last"]
        values.setdefault(cell.method.name, []).append(last["top1"])
    [found] = build.statistics(whole, results)
    return found, values


def test_spreads_and_intervals_are_scipy_s(quickstart):
    found, values = quickstart
    assert [one.row.name for one in found.pairs[0].lines] == list(values)
    for name, runs in values.items():
        one = line(found, name).estimate
        assert (one.n, one.mean, one.std) == (
            3,
            *map(pytest.approx, (np.mean(runs), stats.tstd(runs))),
        )
        expected = stats.t.interval(0.95, 2, np.mean(runs), stats.sem(runs))
        assert (one.low, one.high) == pytest.approx(expected)


def test_differences_are_scipy_s_paired_t_tests_under_holm(quickstart):
    found, values = quickstart
    tests = {n: stats.ttest_rel(runs, values["kd"]) for n, runs in values.items() if n != "kd"}
    corrected = holm({name: float(one.pvalue) for name, one in tests.items()})
    assert len(corrected) == 13
    for name, one in tests.items():
        beside, interval = judgement(found, name), one.confidence_interval(0.95)
        assert beside.mean == pytest.approx(np.mean(values[name]) - np.mean(values["kd"]))
        assert beside.p == pytest.approx(corrected[name])
        assert (beside.low, beside.high) == pytest.approx((interval.low, interval.high))
        assert beside.paired
    assert line(found, "kd").cell.judgement is None
    assert line(found, "kd").untested == ""


def test_where_the_seeds_differ_the_test_is_welch_s():
    left, right = [70.0, 70.4, 71.3], [72.0, 72.2, 73.1]
    pair, (teacher, student) = next(iter(PAIRS.items()))
    entries = [
        Entry(pair, teacher, student, name, seed, record(f"{name}{seed}", seed, value))
        for name, first, runs in (("kd", 0, left), ("at", 1, right))
        for seed, value in enumerate(runs, first)
    ]
    beside, theirs = judgement(of(entries), "at"), stats.ttest_ind(right, left, equal_var=False)
    assert (beside.p, beside.paired) == (pytest.approx(theirs.pvalue), False)
    assert "independent runs (Welch)" in table(entries, ABOUT).caption


def test_the_four_verdicts_and_the_seeds_that_would_settle_it():
    found = of(many())
    verdicts = {name: judgement(found, name).verdict for name in ("ce", "up", "down", "same")}
    assert verdicts == {"ce": "worse", "up": "better", "down": "worse", "same": "same"}
    wild = judgement(found, "wild")
    assert wild.verdict == "inconclusive"
    assert 5 < wild.seeds < 100


def test_the_tolerance_is_half_a_point_or_what_is_said_or_nothing_for_other_units():
    assert table(many(), ABOUT).tolerance == 0.5
    wide = of(many(), About("T", tolerance=4.0))
    assert {judgement(wide, name).verdict for name in ("up", "down")} == {"same"}
    none = of(many(), About("T", tolerance=0.0))
    assert judgement(none, "same").verdict == "inconclusive"
    assert table(many(), ABOUT, "oracle").tolerance == 0.5
    nll = [*cells("kd", near(1.0), metric="nll"), *cells("at", near(1.01), metric="nll")]
    assert table(nll, ABOUT, "nll").tolerance == 0.0


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_what_is_no_tolerance_is_refused(tolerance):
    with pytest.raises(BenchError, match=r"tolerance \S+: allowed is a number of %, 0 or"):
        table(many(), About("T", tolerance=tolerance))


def test_less_is_better_where_it_is():
    entries = [*cells("kd", near(1.0), metric="nll"), *cells("at", near(2.0, (0.0, 0.0, 0.03)),
               metric="nll")]  # fmt: skip
    assert judgement(of(entries, ABOUT, "nll"), "at").verdict == "worse"


def test_cells_with_holes_and_single_runs_are_never_tested_and_say_why():
    found = of(probe_entries(), probe_about())
    untested = {
        (one.row.name, place): one.untested
        for place, pair in enumerate(found.pairs)
        for one in pair.lines
        if one.cell.judgement is None and one.row.name != "kd"
    }
    assert untested == {
        ("dcd", 0): "not tested: lacks values",
        ("at", 1): "not tested: lacks values",
        ("wcord", 1): "not tested: lacks seeds",
        ("dcd", 1): "not tested: lacks values",
    }
    single = of([*cells("kd", [70.0]), *cells("at", [90.0])])
    assert line(single, "at").untested == "not tested: a single run is no measure of noise"
    lacking = of([*cells("kd", [70.0, 70.1, None], label="KD"), *cells("at", near(80.0))])
    assert line(lacking, "at").untested == "not tested: KD lacks seeds"
    gone = of([*cells("kd", [None], label="KD"), *cells("at", near(80.0))])
    assert line(gone, "at").untested == "not tested: KD lacks values"


def test_without_the_reference_nothing_is_compared_but_all_is_estimated():
    found = of([*cells("at", near(74.0)), *cells("sp", near(75.0))])
    assert found.table.baseline is None
    assert [one.cell.judgement for one in found.pairs[0].lines] == [None, None]
    assert [one.untested for one in found.pairs[0].lines] == ["", ""]
    assert line(found, "sp").estimate.n == 3
    assert "reference method" in found.overall.lacking[-1]


def test_the_plain_student_can_be_the_reference():
    found = of(many(), About("T", reference="ce"))
    assert judgement(found, "kd").verdict == "better"
    assert line(found, "ce").cell.judgement is None
    assert found.overall.improvement is None


def ranked(higher=True):
    """Three methods on four pairs of one run each: the table of Friedman's test by hand."""
    accuracies = np.array([[70, 72, 75], [71, 73, 72], [60, 62, 64], [80, 81, 85]], dtype=float)
    entries = [
        Entry(f"p{place}", "a", f"b{place}", name, 0,
              record(f"{place}{name}", 0, value, nll=-value))
        for place, row in enumerate(accuracies)
        for name, value in zip(("kd", "at", "crd"), row, strict=True)
    ]  # fmt: skip
    return of(entries, ABOUT, "top1" if higher else "nll").overall, accuracies


@pytest.mark.parametrize("higher", [True, False])
def test_ranks_over_the_pairs_are_friedman_s_and_nemenyi_s(higher):
    found, accuracies = ranked(higher)
    assert [row.name for row in found.methods] == ["kd", "at", "crd"]
    theirs = stats.friedmanchisquare(*accuracies.T)
    assert (found.ranks.statistic, found.ranks.p) == pytest.approx((6.5, theirs.pvalue))
    assert found.ranks.average == (3.0, 1.75, 1.25)
    # Demšar, table 5: q of 3 methods is 2.343
    assert found.ranks.critical == pytest.approx(2.343 * (3 * 4 / (6 * 4)) ** 0.5, abs=1e-3)
    assert found.pairs == found.ranks.pairs == 4


def test_methods_with_a_hole_are_left_out_of_what_goes_over_the_pairs():
    found = of([*many(), *cells("at", near(74.0), [74.0, 74.1, None])]).overall
    assert [row.name for row in found.left_out] == ["at"]
    assert [row.name for row in found.methods] == ["kd", "up", "down", "same", "wild"]
    assert len(found.ranks.average) == 5
    assert found.ranks == of(many()).overall.ranks


def test_too_few_pairs_or_methods_have_no_ranks_and_say_so():
    [alone] = [of(cells("kd", near(75.0))).overall]
    assert alone.ranks is None
    assert alone.lacking[0] == (
        "no average ranks: at least 2 pairs and 3 methods without holes are needed, "
        "and there are 1 pair and 1 method"
    )
    two = of([*cells("kd", [70.0], [71.0]), *cells("at", [71.0], [72.0])]).overall
    assert "there are 2 pairs and 2 methods" in two.lacking[0]


def improvement(student, kd, at, metric="top1", **about):
    entries = [
        *cells("ce", *student, role="student", label="Student", metric=metric),
        *cells("kd", *kd, label="KD", metric=metric),
        *cells("at", *at, metric=metric),
    ]
    return of(entries, About("T", **about), metric).overall


def test_relative_improvement_by_hand():
    found = improvement([[70.0], [60.0]], [[72.0], [61.0]], [[73.0], [61.0]])
    assert found.improvement == (None, pytest.approx((1 / 2 + 0 / 1) / 2))
    less = improvement([[2.0], [2.0]], [[1.5], [1.0]], [[1.0], [1.5]], "nll")
    assert less.improvement == (None, pytest.approx((0.5 / 0.5 - 0.5 / 1.0) / 2))


@pytest.mark.parametrize(
    ("student", "kd", "said"),
    [
        (
            [[70.0], [61.0]],
            [[72.0], [61.0]],
            "KD does not improve on the plain student of resnet32",
        ),
        (
            [[70.0], [61.5]],
            [[72.0], [61.0]],
            "KD does not improve on the plain student of resnet32",
        ),
        ([[70.0], [None]], [[72.0], [61.0]], "Student lacks values or seeds"),
        ([[70.0], [60.0]], [[72.0], [None]], "KD lacks values or seeds"),
    ],
)
def test_no_relative_improvement_where_the_reference_is_not_above_the_student(student, kd, said):
    found = improvement(student, kd, [[73.0], [62.0]])
    assert found.improvement is None
    assert found.lacking[-1].startswith(f"no relative improvement: {said}")


def test_crd_s_57_percent_from_the_published_tables():
    parts = [statistics(one).overall for one in published.tables()]
    names = [[row.name for row in one.methods].index("crd") for one in parts]
    total = sum(one.pairs * one.improvement[at] for one, at in zip(parts, names, strict=True))
    assert 100 * total / 13 == pytest.approx(56.8, abs=0.05)


def test_each_table_is_a_family_of_its_own():
    first = next(iter(PAIRS))
    alone = of([one for one in many() if one.pair == first])
    parts = [statistics(one) for one in tables_of(many(), ABOUT)]
    assert [one.pairs[0].column.pair for one in parts] == list(PAIRS)
    assert judgement(parts[0], "up").p == judgement(alone, "up").p
    # two pairs in one table: ten cells, not five
    assert judgement(of(many()), "up").p > judgement(alone, "up").p
