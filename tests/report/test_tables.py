"""A suite's tables and statistics from its plan and its committed records."""

from pathlib import Path

import pytest

from bench import api, report
from bench.errors import BenchError
from bench.planning.plan import select
from bench.report import build
from bench.results import Results

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole():
    return api.load_plan("quickstart")


@pytest.fixture
def results(tmp_path):
    (tmp_path / "runs").symlink_to(ROOT / "results" / "quickstart" / "runs")
    return Results(tmp_path)


def test_another_method_can_be_named_to_compare_with(whole, results):
    [made] = build.of(whole, results, versus="crd+kd")
    assert "worse than CRD+KD, by mean" in made.caption
    [made] = build.of(whole, results, versus="student")
    assert "worse than Student, by mean" in made.caption
    assert made.baseline.role == "student"


def test_a_method_that_the_suite_lacks_is_refused(whole, results):
    for call in (build.of, build.write, build.statistics, build.write_statistics):
        with pytest.raises(
            BenchError, match=r"no method 'crdd'\. Did you mean 'crd'\? Allowed: at,"
        ):
            call(whole, results, versus="crdd")
    part = select(whole, "method=kd|at")
    with pytest.raises(BenchError, match=r"no method 'crd'\. Allowed: at, kd"):
        build.of(part, results, versus="crd")
    assert [path.name for path in results.folder.iterdir()] == ["runs"]


def test_an_unknown_format_is_refused_before_anything_is_computed(whole):
    for call in (build.write, build.write_statistics):
        with pytest.raises(BenchError, match=r"no format 'htm'"):
            call(whole, None, formats=["md", "htm"])


def test_statistics_are_written_beside_the_tables(whole, results):
    files = build.write_statistics(whole, results, formats=["md", "csv", "html"])
    assert [path.name for path in files] == [
        "quickstart-statistics.md",
        "quickstart-statistics.csv",
    ]
    [path] = build.write_statistics(whole, results, "nll", formats=["txt"])
    assert path.name == "quickstart-statistics-nll.txt"
    said = path.read_text("utf-8")
    assert "Nothing is called the same without a tolerance" in said
    [found] = build.statistics(whole, results, "nll")
    assert said == report.text_sheet(report.sheet(found))


def test_the_tolerance_is_told_and_holds(whole, results):
    [found] = build.statistics(whole, results, tolerance=25.0)
    verdicts = {line.cell.judgement.verdict for line in found.pairs[0].lines if line.cell.judgement}
    assert verdicts == {"same"}
    assert "more than 25 points" in report.sheet(found).caption


def test_the_page_compares_as_it_is_told(whole, results):
    [path] = build.write(whole, results, formats=["html"], versus="dcd", tolerance=2.0)
    text = path.read_text("utf-8")
    assert "Difference to DCD" in text
    assert "a difference of more than 2 points" in text
