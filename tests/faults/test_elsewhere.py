"""Another place, another time: a moved folder, a changed clock, another time zone."""

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

HERE = Machine(gpus=(), inline=True)
Same = Callable[[Results], bool]


def test_results_go_on_in_another_place(
    undisturbed: tuple[Plan, Results], taught: Results, tmp_path: Path, same: Same
) -> None:
    """The suite has moved as well, and its tables are the same to the byte."""
    moved = Results(tmp_path / "far" / "away")
    shutil.move(taught.folder, moved.folder)
    (tmp_path / "other").mkdir()
    whole = toy.plan(tmp_path / "other", **LINES)
    assert api.carry_out(whole, moved, HERE) == []
    assert same(moved)
    made, expected = (build.write(whole, of) for of in (moved, undisturbed[1]))
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in expected]


def test_mlflow_follows_a_folder_that_moves(
    undisturbed: tuple[Plan, Results], taught: Results, tmp_path: Path, blank: Path
) -> None:
    """Old runs keep their record, and new ones do not write where the folder was."""
    whole, done = undisturbed
    shutil.copy(blank, taught.folder)
    assert api.sync(whole, taught).added == 1
    moved = Results(tmp_path / "far" / "away")
    shutil.move(taught.folder, moved.folder)
    for run in whole.runs:
        moved.write(done.record(run) or {})
    assert api.sync(whole, moved).added == len(whole.runs) - 1
    assert not taught.folder.exists()
    client = mlflow.client(mlflow.tracking_uri(moved))
    experiment = client.get_experiment_by_name("toy")
    for run in client.search_runs([experiment.experiment_id]):
        assert run.info.artifact_uri.startswith(moved.folder.as_uri())
        (artifact,) = client.list_artifacts(run.info.run_id)
        assert artifact.path == "record.json"


@pytest.fixture(params=["Pacific/Kiritimati", "America/Adak"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A time zone at one end of the day or the other."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_clock_that_jumped_back_in_another_time_zone(
    zone: str, undisturbed: tuple[Plan, Results], taught: Results, same: Same,
    monkeypatch: pytest.MonkeyPatch, blank: Path,
) -> None:  # fmt: skip
    """What is there is of the future, by its own word and by the files' times."""
    whole, _ = undisturbed
    teacher = next(iter(whole.runs))
    future = "2099-01-01T00:00:00+00:00"
    taught.write({**(taught.record(teacher) or {}), "started": future, "finished": future})
    for path in taught.folder.rglob("*"):
        os.utime(path, (4e9, 4e9))
    for module in ("runner", "desk"):
        monkeypatch.setattr(f"bench.execution.{module}.now", lambda: "1999-01-01T00:00:00+00:00")
    assert api.carry_out(whole, taught, HERE) == []
    shutil.copy(blank, taught.folder)
    assert api.sync(whole, taught).warnings == []
    assert same(taught)
    assert build.assemble(whole, taught)


def test_a_folder_of_images_that_moved_is_the_same_data(tmp_path: Path) -> None:
    """Its runs are known by what is in it, and wherever it lies it is found."""
    counts = {"train": {"ant": 8, "cat": 8}, "test": {"ant": 4, "cat": 4}}
    top = toys.image_folder(tmp_path / "a" / "images", counts)
    lines = {"recipe": "{epochs: 1, batch_size: 8, crop: 0}", "options": ""}
    whole = toy.plan(tmp_path, dataset=f"{{name: 'folder:{top}', size: 8}}", **lines)
    results = toy.run(whole, tmp_path)
    records = {run: results.record(run) for run in whole.runs}
    for record in records.values():
        assert record is not None
        assert record["status"] == "done"
        assert record["specification"]["data"]["name"] == "folder"
        assert str(tmp_path) not in results.file(record["id"]).read_text()

    shutil.move(top, tmp_path / "b" / "pictures")
    toy.write(tmp_path, dataset="{name: 'folder:pictures', size: 8}", **lines)
    moved = api.make_plan(tmp_path / "toy.yaml", data_root=tmp_path / "b")
    assert list(moved.runs) == list(whole.runs)
    student = moved.cells[0].run
    results.forget(student)
    toy.run(moved, tmp_path, data_root=tmp_path / "b")
    assert toy.numbers(results.record(student)) == toy.numbers(records[student])

    (tmp_path / "b" / "pictures" / "train" / "ant" / "0.png").unlink()
    changed = api.make_plan(tmp_path / "toy.yaml", data_root=tmp_path / "b")
    assert not set(changed.runs) & set(whole.runs)
