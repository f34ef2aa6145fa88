"""A moved results folder, a changed clock, another time zone."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.callbacks import mlflow
from bench.planning.plan import Plan
from bench.report import build
from bench.results import Results
from tests import toy
from tests.data import toys
from tests.faults.conftest import LINES

INLINE = Machine(gpus=(), inline=True)
Same = Callable[[Results], bool]


def test_moved_results_and_suite_resume_and_give_the_same_tables(
    undisturbed: tuple[Plan, Results], with_teacher: Results, tmp_path: Path, same: Same
) -> None:
    moved = Results(tmp_path / "far" / "away")
    shutil.move(with_teacher.folder, moved.folder)
    (tmp_path / "other").mkdir()
    plan = toy.plan(tmp_path / "other", **LINES)
    assert api.execute(plan, moved, INLINE) == []
    assert same(moved)
    tables, expected = (build.write(plan, results) for results in (moved, undisturbed[1]))
    assert [path.read_bytes() for path in tables] == [path.read_bytes() for path in expected]


def test_mlflow_store_follows_a_moved_folder(
    undisturbed: tuple[Plan, Results], with_teacher: Results, tmp_path: Path, blank: Path
) -> None:
    """Old runs keep their record; new ones do not write to the old place."""
    plan, done = undisturbed
    shutil.copy(blank, with_teacher.folder)
    assert api.sync(plan, with_teacher).added == 1
    moved = Results(tmp_path / "far" / "away")
    shutil.move(with_teacher.folder, moved.folder)
    for record in done.records():
        moved.write(record)
    assert api.sync(plan, moved).added == len(plan.runs) - 1
    assert not with_teacher.folder.exists()
    client = mlflow.client(mlflow.tracking_uri(moved))
    experiment = client.get_experiment_by_name("toy")
    for run in client.search_runs([experiment.experiment_id]):
        path = f"{run.info.run_id}/artifacts"
        assert run.info.artifact_uri == f"mlflow-artifacts:/{path}", "as MLflow's server reads it"
        assert (moved.folder / "mlartifacts" / path / "record.json").is_file()


@pytest.fixture(params=["Pacific/Kiritimati", "America/Adak"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The first and the last time zone of a day."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_clock_that_jumps_back_changes_no_number(
    zone: str, undisturbed: tuple[Plan, Results], with_teacher: Results, same: Same,
    monkeypatch: pytest.MonkeyPatch, blank: Path,
) -> None:  # fmt: skip
    """Records and files are of the future."""
    plan, _ = undisturbed
    future = "2099-01-01T00:00:00+00:00"
    teacher = with_teacher.record(next(iter(plan.runs)))
    with_teacher.write(toy.changed(teacher, started=future, finished=future))
    for path in with_teacher.folder.rglob("*"):
        os.utime(path, (4e9, 4e9))
    for module in ("runner", "worker"):
        monkeypatch.setattr(f"bench.execution.{module}.now", lambda: "1999-01-01T00:00:00+00:00")
    assert api.execute(plan, with_teacher, INLINE) == []
    shutil.copy(blank, with_teacher.folder)
    assert api.sync(plan, with_teacher).warnings == []
    assert same(with_teacher)
    assert build.assemble(plan, with_teacher)


def test_moved_folder_of_images_is_the_same_data(tmp_path: Path) -> None:
    """Run ids depend on the images, not on their place."""
    counts = {"train": {"ant": 8, "cat": 8}, "test": {"ant": 4, "cat": 4}}
    images = toys.image_folder(tmp_path / "a" / "images", counts)
    lines = {"recipe": "{epochs: 1, batch_size: 8, crop: 0}", "options": ""}
    plan = toy.plan(tmp_path, dataset=f"{{name: 'folder:{images}', size: 8}}", **lines)
    results = toy.run(plan, tmp_path)
    records = {record.id: record for record in results.records()}
    assert records.keys() == plan.runs.keys()
    for record in records.values():
        assert record.status == "done"
        assert record.specification.data.name == "folder"
        assert str(tmp_path) not in results.file(record.id).read_text()

    shutil.move(images, tmp_path / "b" / "pictures")
    toy.write(tmp_path, dataset="{name: 'folder:pictures', size: 8}", **lines)
    moved = api.load_plan(tmp_path / "toy.yaml", data_root=tmp_path / "b")
    assert list(moved.runs) == list(plan.runs)
    student = moved.cells[0].run
    results.delete_run(student)
    toy.run(moved, tmp_path, data_root=tmp_path / "b")
    assert toy.numbers(results.record(student)) == toy.numbers(records[student])

    (tmp_path / "b" / "pictures" / "train" / "ant" / "0.png").unlink()
    changed = api.load_plan(tmp_path / "toy.yaml", data_root=tmp_path / "b")
    assert not set(changed.runs) & set(plan.runs)
