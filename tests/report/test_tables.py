"""A suite's tables and statistics from its plan and its committed records."""

from pathlib import Path

import pytest

from bench import report, session, tables
from bench.errors import BenchError
from bench.plan import select
from bench.results import Results

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole():
    return session.make_plan("quickstart")


@pytest.fixture
def results(tmp_path):
    (tmp_path / "runs").symlink_to(ROOT / "results" / "quickstart" / "runs")
    return Results(tmp_path)


def test_another_method_can_be_named_to_compare_with(whole, results):
    [made] = tables.of(whole, results, versus="crd+kd")
    assert "worse than CRD+KD, by mean" in made.caption
    [made] = tables.of(whole, results, versus="student")
    assert "worse than Student, by mean" in made.caption
    assert made.baseline.role == "student"


def test_a_method_that_the_suite_lacks_is_refused(whole, results):
    for call in (tables.of, tables.write, tables.statistics, tables.write_statistics):
        with pytest.raises(
            BenchError, match=r"no method 'crdd'\. Did you mean 'crd'\? Allowed: at,"
        ):
            call(whole, results, versus="crdd")
    part = select(whole, "method=kd|at")
    with pytest.raises(BenchError, match=r"no method 'crd'\. Allowed: at, kd"):
        tables.of(part, results, versus="crd")
    assert [path.name for path in results.folder.iterdir()] == ["runs"]


def test_an_unknown_format_is_refused_before_anything_is_computed(whole):
    for call in (tables.write, tables.write_statistics):
        with pytest.raises(BenchError, match=r"no format 'htm'"):
            call(whole, None, formats=["md", "htm"])


def test_statistics_are_written_beside_the_tables(whole, results):
    files = tables.write_statistics(whole, results, formats=["md", "csv", "html"])
    assert [path.name for path in files] == [
        "quickstart-statistics.md",
        "quickstart-statistics.csv",
    ]
    [path] = tables.write_statistics(whole, results, "nll", formats=["txt"])
    assert path.name == "quickstart-statistics-nll.txt"
    said = path.read_text("utf-8")
    assert "Nothing is called the same without a tolerance" in said
    [found] = tables.statistics(whole, results, "nll")
    assert said == report.text_sheet(report.sheet(found))


def test_the_tolerance_is_told_and_holds(whole, results):
    [found] = tables.statistics(whole, results, tolerance=25.0)
    verdicts = {line.cell.judgement.verdict for line in found.pairs[0].lines if line.cell.judgement}
    assert verdicts == {"same"}
    assert "more than 25 points" in report.sheet(found).caption


def test_the_page_compares_as_it_is_told(whole, results):
    [path] = tables.write(whole, results, formats=["html"], versus="dcd", tolerance=2.0)
    text = path.read_text("utf-8")
    assert "Difference to DCD" in text
    assert "a difference of more than 2 points" in text
