"""The committed results are complete, and their tables are those of their records."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import api, regression, report
from bench.planning.plan import Plan, select
from bench.report import build
from bench.results import Results
from tests.golden_text import with_golden_digits

RESULTS = Path(__file__).parents[1] / "results"
UNFINISHED = {  # a suite, and the runs in its tables
    "cifar100_small": "method=student|kd|fitnet|at|sp|cc|rkd|pkt|crd|crd+kd|wcord|wcord+kd"
    "|dcd|dcd+kd|dkd|dist"
}
FOLDERS = sorted({path.parent.name for path in RESULTS.glob("*/runs")} - {*UNFINISHED})


def load_plan(name: str, tmp_path: Path) -> Plan:
    """The plan of a suite without its data; if run ids depend on them, the committed plan."""
    plan, _ = api.load_plan_or_saved(name, Results(RESULTS / name), data_root=tmp_path)
    return plan


def test_the_quickstart_the_probe_and_the_small_twins_are_there() -> None:
    twins = {
        "small_privileged",
        "small_few_samples",
        "small_ensemble",
        "small_capacity_gap",
        "small_transfer",
        "small_cross_modal",
        "small_tuned",
        "small_imagenet",
    }
    assert {"cifar100_probe", "quickstart", *twins} <= set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_run_of_the_suite_is_done(name: str, tmp_path: Path) -> None:
    full_plan, results = load_plan(name, tmp_path), Results(RESULTS / name)
    records = list(results.records())
    assert {record.status for record in records} == {"done"}
    trials = full_plan.trials.runs if full_plan.trials else {}
    assert {*full_plan.runs, *trials} == {record.id for record in records}


def tables(full_plan: Plan, results: Results) -> list[Path]:
    """All tables that `bench report` makes of records, and `bench baseline`."""
    baseline = results.folder / f"{full_plan.stem}-baseline.json"
    report.save(baseline, report.render(build.assemble(full_plan, results), "json").encode())
    options = report.ReportOptions(formats=report.FORMATS)
    statistics = report.ReportOptions(formats=("md", "tex", "csv", "txt"))  # json is the same
    return [
        *build.write(full_plan, results, options),
        *build.write(full_plan, results, statistics, "statistics"),
        baseline,
    ]


def pages(full_plan: Plan, results: Results) -> list[Path]:
    """The page that `bench report --format html` makes of records."""
    return build.write(full_plan, results, report.ReportOptions(formats=(report.PAGE,)))


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("written", [tables, pytest.param(pages, marks=pytest.mark.slow)])
def test_reports_in_all_formats_are_those_of_the_records(
    written: Callable[[Plan, Results], list[Path]], name: str, tmp_path: Path
) -> None:
    (tmp_path / "runs").symlink_to(RESULTS / name / "runs")
    for file in written(load_plan(name, tmp_path), Results(tmp_path)):
        committed = (RESULTS / name / file.name).read_text()
        text = with_golden_digits(file.read_text(), committed)
        assert text == committed, f"stale: bench report {name}"


@pytest.mark.parametrize("name", UNFINISHED)
def test_tables_of_an_unfinished_suite_are_those_of_its_records(name: str, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(RESULTS / name / "runs")
    full_plan, results = load_plan(name, tmp_path), Results(tmp_path)
    records = {record.id for record in results.records()}
    assert records < {*full_plan.runs}
    part = select(full_plan, UNFINISHED[name])
    assert {*part.runs} <= records, "a run of the tables is missing"
    for file in tables(part, results)[:-1]:  # without a baseline
        committed = (RESULTS / name / file.name).read_text()
        assert with_golden_digits(file.read_text(), committed) == committed, f"stale: {file.name}"


@pytest.mark.parametrize("name", FOLDERS)
def test_records_pass_the_check_against_the_committed_baseline(name: str, tmp_path: Path) -> None:
    full_plan, results = load_plan(name, tmp_path), Results(RESULTS / name)
    baseline = regression.read(RESULTS / name / f"{name}-baseline.json")
    verdicts = regression.check(build.entries(full_plan, results), baseline, tolerance=0.5)
    assert {cell.outcome for cell in verdicts.cells} == {"pass"}
    assert verdicts.exit_code(strict=True) == 0


@pytest.mark.parametrize("name", FOLDERS)
def test_figures_are_there(name: str) -> None:
    usual = ["forest"] if "small" in name else ["forest", "curves", "pareto"]
    special = {
        "small_capacity_gap": ["forest", "gap"],
        "small_imagenet": [],  # one seed has no intervals, and its runs were stopped for a while
        "small_tuned": ["forest", "tuning"],
    }
    for kind in special.get(name, usual):
        for end in ("png", "pdf"):
            assert list((RESULTS / name).glob(f"{name}*-{kind}*.{end}"))


def test_the_papers_tables_are_those_of_the_transcription(tmp_path: Path) -> None:
    pairs = 0
    for name in ("cifar100_same_arch", "cifar100_cross_arch"):
        full_plan = api.load_plan(name)
        pairs += len(full_plan.suite.pairs)
        options = report.ReportOptions(formats=report.FORMATS)
        files = build.write_published(full_plan, Results(tmp_path), options)
        for file in files:
            committed = RESULTS / "papers" / file.name
            assert committed.read_text() == file.read_text(), f"stale: bench report {name}"
    assert pairs == 13


@pytest.mark.parametrize("name", ["cifar100_probe", "quickstart"])
def test_teacher_is_better_than_the_plain_student(name: str) -> None:
    full_plan, results = api.load_plan(name), Results(RESULTS / name)
    for cell in full_plan.cells:
        if cell.method.name == "student":
            taught, alone = results.record(cell.teacher), results.record(cell.run)
            assert taught is not None
            assert alone is not None
            assert (taught.top1 or 0) > (alone.top1 or 100)
            first, last = alone.curves[0].loss, alone.curves[-1].loss
            assert first is not None
            assert last is not None
            assert last < first
