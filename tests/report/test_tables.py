"""A suite's tables and statistics from its plan and its committed records."""

from pathlib import Path

import pytest

from bench import api, report
from bench.errors import BenchError
from bench.planning.plan import select
from bench.report import ReportOptions, build
from bench.results import Results

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def full_plan():
    return api.load_plan("quickstart")


@pytest.fixture
def results(tmp_path):
    (tmp_path / "runs").symlink_to(ROOT / "results" / "quickstart" / "runs")
    return Results(tmp_path)


def test_another_method_can_be_the_reference_of_a_suite(full_plan, results):
    [built] = build.assemble(full_plan, results, ReportOptions(reference="crd+kd")).tables
    assert "worse than CRD+KD, by mean" in str(built.caption)
    [built] = build.assemble(full_plan, results, ReportOptions(reference="student")).tables
    assert "worse than Student, by mean" in str(built.caption)
    assert built.baseline.role == "student"


def test_unknown_reference_is_an_error(full_plan, results):
    for call in (build.assemble, build.write):
        with pytest.raises(
            BenchError, match=r"no method 'crdd'\. Did you mean 'crd'\? Allowed: at,"
        ):
            call(full_plan, results, ReportOptions(reference="crdd"))
    part = select(full_plan, "method=kd|at")
    with pytest.raises(BenchError, match=r"no method 'crd'\. Allowed: at, kd"):
        build.assemble(part, results, ReportOptions(reference="crd"))
    assert [path.name for path in results.folder.iterdir()] == ["runs"]


def test_unknown_format_is_an_error_before_anything_is_computed(full_plan):
    for kind in ("tables", "statistics"):
        with pytest.raises(BenchError, match=r"no format 'htm'"):
            build.write(full_plan, None, ReportOptions(formats=["md", "htm"]), kind)


def test_statistics_have_files_of_their_own(full_plan, results):
    options = ReportOptions(formats=["md", "csv", "html"])
    files = build.write(full_plan, results, options, "statistics")
    assert [path.name for path in files] == [
        "quickstart-statistics.md",
        "quickstart-statistics.csv",
    ]
    options = ReportOptions("nll", formats=["txt"])
    [path] = build.write(full_plan, results, options, "statistics")
    assert path.name == "quickstart-statistics-nll.txt"
    message = path.read_text("utf-8")
    assert "With a tolerance of 0, no verdict is `same`" in message
    built = build.assemble(full_plan, results, options)
    assert message == report.render(built, "txt", "statistics")


def test_tolerance_is_applied_and_in_the_caption(full_plan, results):
    built = build.assemble(full_plan, results, ReportOptions(tolerance=25.0))
    compared = [cell.comparison for cell in built.cells if cell.comparison]
    assert {comparison.verdict for comparison in compared} == {"same"}
    message = " ".join(report.render(built, "txt", "statistics").split())
    assert "more than 25 points" in message


def test_page_uses_reference_and_tolerance(full_plan, results):
    options = ReportOptions(formats=["html"], reference="dcd", tolerance=2.0)
    [path] = build.write(full_plan, results, options)
    text = path.read_text("utf-8")
    assert "Difference to DCD" in text
    assert "a difference of more than 2 points" in text
