"""What is committed under results/: complete, and its tables are those of its records."""

from pathlib import Path

import pytest

from bench import session, tables
from bench.results import Results

RESULTS = Path(__file__).parents[1] / "results"
FOLDERS = sorted(path.parent.name for path in RESULTS.glob("*/runs"))


def test_the_quickstart_and_the_probe_are_there() -> None:
    assert {"cifar100_probe", "quickstart"} <= set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_run_of_the_suite_is_done(name: str) -> None:
    whole, results = session.make_plan(name), Results(RESULTS / name)
    statuses = {run: (results.record(run) or {}).get("status") for run in whole.runs}
    assert set(statuses.values()) == {"done"}
    assert set(statuses) == {record["id"] for record in results.records()}


@pytest.mark.parametrize("name", FOLDERS)
def test_tables_are_those_of_the_records(name: str, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(RESULTS / name / "runs")
    files = tables.write(session.make_plan(name), Results(tmp_path))
    assert files
    for file in files:
        committed = RESULTS / name / file.name
        assert committed.read_text() == file.read_text(), f"stale: bench report {name}"


@pytest.mark.parametrize("name", FOLDERS)
def test_the_teacher_is_ahead_of_the_plain_student(name: str) -> None:
    whole, results = session.make_plan(name), Results(RESULTS / name)
    for cell in whole.cells:
        if cell.method.name == "student":
            taught, alone = results.record(cell.teacher), results.record(cell.run)
            assert taught is not None
            assert alone is not None
            assert taught["metrics"]["last"]["top1"] > alone["metrics"]["last"]["top1"]
            losses = [entry["loss"] for entry in alone["curves"]]
            assert losses[-1] < losses[0]
