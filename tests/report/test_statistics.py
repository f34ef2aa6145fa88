"""The statistics of tables: against scipy directly, on the committed quickstart and by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_factory import PAIRS, cells, many, near, probe_context, probe_entries, record, row
from scipy import stats

from bench import api
from bench.errors import BenchError
from bench.report import build, published
from bench.report.build import table
from bench.report.comparison import overall
from bench.report.document import untested_reason
from bench.report.model import Entry, TableContext
from bench.results import Results
from bench.stats.comparison import contrasts
from bench.stats.estimates import resolution, within_seeds

QUICKSTART = Path(__file__).parents[2] / "results" / "quickstart"
ABOUT = TableContext("T")


def of(entries, about=ABOUT, metric="top1"):
    return table(entries, about, metric)


def comparison(result, method, pair=0):
    return row(result, method).cells[pair].comparison


def untested(result, method, pair=0):
    return untested_reason(row(result, method), pair, result)


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
    plan, results = api.load_plan("quickstart"), Results(QUICKSTART)
    values = {}
    for cell in plan.cells:
        last = results.record(cell.run).metrics["last"]
        values.setdefault(cell.method.name, []).append(last["top1"])
    [result] = build.assemble(plan, results).tables
    return result, values


def test_spreads_and_intervals_are_scipy_s(quickstart):
    result, values = quickstart
    assert [each.name for each in result.rows if each.role != "teacher"] == list(values)
    for name, runs in values.items():
        item = row(result, name).cells[0].measured
        assert (item.n, item.mean, item.std) == (
            3,
            *map(pytest.approx, (np.mean(runs), stats.tstd(runs))),
        )
        expected = stats.t.interval(0.95, 2, np.mean(runs), stats.sem(runs))
        assert (item.low, item.high) == pytest.approx(expected)


def test_differences_are_tested_with_moderated_variances_under_holm(quickstart):
    result, values = quickstart
    others = {name: runs for name, runs in values.items() if name != "kd"}
    runs = np.array([values["kd"], *others.values()])
    cells = within_seeds(runs).at_least(resolution(runs.ravel()) / 12**0.5)
    parts, n = np.array([[0, i + 1] for i in range(13)]), np.full((13, 2), 3.0)
    mean = runs[1:].mean(1) - runs[0].mean()
    differences = contrasts(mean, cells, parts, n)
    corrected = holm(dict(zip(others, differences.p_two_sided().tolist(), strict=True)))
    assert len(corrected) == 13
    for i, name in enumerate(others):
        beside = comparison(result, name)
        low, high = differences.interval(0.95)
        assert beside.mean == pytest.approx(mean[i])
        assert beside.p == pytest.approx(corrected[name])
        assert (beside.low, beside.high) == pytest.approx((low[i], high[i]))
        assert beside.paired
    assert comparison(result, "kd") is None
    assert untested(result, "kd") == ""


def test_two_methods_alone_are_compared_by_the_paired_t_test(quickstart):
    _, values = quickstart
    pair, (teacher, student) = next(iter(PAIRS.items()))
    entries = [
        Entry(pair, teacher, student, name, seed, record(f"{name}{seed}", seed, value))
        for name in ("kd", "at")
        for seed, value in enumerate(values[name])
    ]
    beside, theirs = comparison(of(entries), "at"), stats.ttest_rel(values["at"], values["kd"])
    assert (beside.p, beside.paired) == (pytest.approx(theirs.pvalue), True)


def test_methods_with_other_seeds_are_not_paired():
    left, right = [70.0, 70.4, 71.3], [72.0, 72.2, 73.1]
    pair, (teacher, student) = next(iter(PAIRS.items()))
    entries = [
        Entry(pair, teacher, student, name, seed, record(f"{name}{seed}", seed, value))
        for name, first, runs in (("kd", 0, left), ("at", 1, right))
        for seed, value in enumerate(runs, first)
    ]
    beside, theirs = comparison(of(entries), "at"), stats.ttest_ind(right, left, equal_var=False)
    # two similar variances lend each other a few degrees of freedom
    assert 0.8 * theirs.pvalue < beside.p < theirs.pvalue
    assert not beside.paired
    assert "(moderated unpaired t-tests, Holm-corrected" in str(table(entries, ABOUT).caption)


def test_the_four_verdicts_and_the_seeds_that_would_settle_it():
    result = of(many())
    verdicts = {name: comparison(result, name).verdict for name in ("ce", "up", "down", "same")}
    assert verdicts == {"ce": "worse", "up": "better", "down": "worse", "same": "same"}
    wild = comparison(result, "wild")
    assert wild.verdict == "inconclusive"
    assert 5 < wild.seeds < 100


def test_default_tolerance_is_half_a_point_and_0_for_other_units():
    assert table(many(), ABOUT).tolerance == 0.5
    wide = of(many(), TableContext("T", tolerance=4.0))
    assert {comparison(wide, name).verdict for name in ("up", "down")} == {"same"}
    none = of(many(), TableContext("T", tolerance=0.0))
    assert comparison(none, "same").verdict == "inconclusive"
    assert table(many(), ABOUT, "oracle").tolerance == 0.5
    nll = [*cells("kd", near(1.0), metric="nll"), *cells("at", near(1.01), metric="nll")]
    assert table(nll, ABOUT, "nll").tolerance == 0.0


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_invalid_tolerance_is_an_error(tolerance):
    with pytest.raises(BenchError, match=r"tolerance \S+\. Allowed: a number in %, 0 or"):
        table(many(), TableContext("T", tolerance=tolerance))


def test_less_is_better_where_it_is():
    entries = [*cells("kd", near(1.0), metric="nll"), *cells("at", near(2.0, (0.0, 0.0, 0.03)),
               metric="nll")]  # fmt: skip
    assert comparison(of(entries, ABOUT, "nll"), "at").verdict == "worse"


def test_cells_with_missing_seeds_and_single_runs_are_not_tested_and_give_a_reason():
    result = of(probe_entries(), probe_context())
    reasons = {
        (each.name, pair): untested(result, each.name, pair)
        for pair in range(2)
        for each in result.rows
        if each.role != "teacher" and each.cells[pair].comparison is None and each.name != "kd"
    }
    assert reasons == {
        ("dcd", 0): "not tested: values missing",
        ("at", 1): "not tested: values missing",
        ("wcord", 1): "not tested: seeds missing",
        ("dcd", 1): "not tested: values missing",
    }
    single = of([*cells("kd", [70.0]), *cells("at", [90.0])])
    assert untested(single, "at") == "not tested: single run"
    lacking = of([*cells("kd", [70.0, 70.1, None], label="KD"), *cells("at", near(80.0))])
    assert untested(lacking, "at") == "not tested: seeds of KD missing"
    gone = of([*cells("kd", [None], label="KD"), *cells("at", near(80.0))])
    assert untested(gone, "at") == "not tested: values of KD missing"


def test_without_the_reference_nothing_is_compared_but_all_is_estimated():
    result = of([*cells("at", near(74.0)), *cells("sp", near(75.0))])
    assert result.baseline is None
    assert [comparison(result, name) for name in ("at", "sp")] == [None, None]
    assert [untested(result, name) for name in ("at", "sp")] == ["", ""]
    assert row(result, "sp").cells[0].measured.n == 3
    assert "reference method" in overall(result).obstacles[-1]


def test_the_plain_student_can_be_the_reference():
    result = of(many(), TableContext("T", reference="ce"))
    assert comparison(result, "kd").verdict == "better"
    assert comparison(result, "ce") is None
    assert overall(result).improvements is None


def ranked(higher=True):
    """Three methods on four pairs of one run each: the table of Friedman's test by hand."""
    accuracies = np.array([[70, 72, 75], [71, 73, 72], [60, 62, 64], [80, 81, 85]], dtype=float)
    entries = [
        Entry(f"p{place}", "a", f"b{place}", name, 0,
              record(f"{place}{name}", 0, value, nll=-value))
        for place, row in enumerate(accuracies)
        for name, value in zip(("kd", "at", "crd"), row, strict=True)
    ]  # fmt: skip
    return overall(of(entries, ABOUT, "top1" if higher else "nll")), accuracies


@pytest.mark.parametrize("higher", [True, False])
def test_ranks_over_the_pairs_are_friedman_s_and_nemenyi_s(higher):
    result, accuracies = ranked(higher)
    assert result.methods == ("kd", "at", "crd")
    theirs = stats.friedmanchisquare(*accuracies.T)
    assert (result.ranks.statistic, result.ranks.p) == pytest.approx((6.5, theirs.pvalue))
    assert result.ranks.average == (3.0, 1.75, 1.25)
    # Demšar, table 5: q of 3 methods is 2.343
    assert result.ranks.critical == pytest.approx(2.343 * (3 * 4 / (6 * 4)) ** 0.5, abs=1e-3)
    assert result.pairs == result.ranks.pairs == 4


def test_methods_with_missing_values_have_no_average_rank():
    result = overall(of([*many(), *cells("at", near(74.0), [74.0, 74.1, None])]))
    assert result.incomplete == ("at",)
    assert result.methods == ("kd", "up", "down", "same", "wild")
    assert len(result.ranks.average) == 5
    assert result.ranks == overall(of(many())).ranks


def test_too_few_pairs_or_methods_have_no_ranks_and_give_a_reason():
    alone = overall(of(cells("kd", near(75.0))))
    assert alone.ranks is None
    assert alone.obstacles[0] == (
        "no average ranks: they need at least 2 pairs and 3 methods without missing values, "
        "found 1 pair and 1 method"
    )
    two = overall(of([*cells("kd", [70.0], [71.0]), *cells("at", [71.0], [72.0])]))
    assert "found 2 pairs and 2 methods" in two.obstacles[0]


def improvement(student, kd, at, metric="top1", **about):
    entries = [
        *cells("ce", *student, role="student", label="Student", metric=metric),
        *cells("kd", *kd, label="KD", metric=metric),
        *cells("at", *at, metric=metric),
    ]
    return overall(of(entries, TableContext("T", **about), metric))


def test_relative_improvement_by_hand():
    result = improvement([[70.0], [60.0]], [[72.0], [61.0]], [[73.0], [61.0]])
    assert result.improvements == (None, pytest.approx((1 / 2 + 0 / 1) / 2))
    less = improvement([[2.0], [2.0]], [[1.5], [1.0]], [[1.0], [1.5]], "nll")
    assert less.improvements == (None, pytest.approx((0.5 / 0.5 - 0.5 / 1.0) / 2))


@pytest.mark.parametrize(
    ("student", "kd", "message"),
    [
        (
            [[70.0], [61.0]],
            [[72.0], [61.0]],
            "KD does not improve the plain student of resnet32",
        ),
        (
            [[70.0], [61.5]],
            [[72.0], [61.0]],
            "KD does not improve the plain student of resnet32",
        ),
        ([[70.0], [None]], [[72.0], [61.0]], "values or seeds of Student are missing"),
        ([[70.0], [60.0]], [[72.0], [None]], "values or seeds of KD are missing"),
    ],
)
def test_no_relative_improvement_if_the_reference_is_not_above_the_student(student, kd, message):
    result = improvement(student, kd, [[73.0], [62.0]])
    assert result.improvements is None
    assert result.obstacles[-1].startswith(f"no relative improvement: {message}")


def test_crd_s_57_percent_from_the_published_tables():
    parts = [overall(each) for each in published.tables()]
    total = sum(p.pairs * p.improvements[p.methods.index("crd")] for p in parts)
    assert 100 * total / 13 == pytest.approx(56.8, abs=0.05)


def test_each_table_is_a_family_of_its_own():
    first = next(iter(PAIRS))
    alone = of([item for item in many() if item.pair == first])
    groups = {pair: str(i) for i, pair in enumerate(PAIRS)}
    grouped = [replace(item, group=groups[item.pair]) for item in many()]
    parts = build.tables(grouped, ABOUT)
    assert [item.columns[0].pair for item in parts] == list(PAIRS)
    assert comparison(parts[0], "up").p == comparison(alone, "up").p
    # two pairs in one table: ten comparisons, whose variances are moderated together
    assert comparison(of(many()), "up").p != comparison(alone, "up").p
