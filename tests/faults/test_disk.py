"""A disk that is full, or takes nothing: told in a sentence; nothing torn, nothing lost."""

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.callbacks.mlflow import MLflow
from bench.planning.plan import Plan
from bench.results import Results, Unwritable
from tests import toy
from tests.command import bench, wrong
from tests.faults.conftest import LINES

HERE = Machine(gpus=(), inline=True)
Same = Callable[[Results], bool]


def mount(*arguments: str) -> None:
    """Mount, or skip the test where that is not allowed."""
    ran = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if ran.returncode:
        pytest.skip(f"nothing can be mounted here: {ran.stderr.strip()}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of its own."""
    place = tmp_path / "small"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "none", str(place))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def filled(place: Path, left: int) -> Path:
    """A file that leaves so many bytes of room."""
    path = place / "filler"
    path.write_bytes(bytes(max(0, shutil.disk_usage(place).free - left)))
    return path


def whole_files(results: Results) -> bool:
    """Whether everything in the folder can be read as what it is."""
    list(results.records())
    for path in results.folder.glob("state/*.pt"):
        assert results.read_state(path.stem)
    return not [*results.folder.rglob("*.part"), *results.folder.rglob("*.corrupt")]


@pytest.mark.parametrize("left", [0, 900_000, 1_500_000])
def test_a_full_disk_stops_the_command_and_it_goes_on_when_there_is_room(
    left: int, small: Path, undisturbed: tuple[Plan, Results], same: Same
) -> None:
    """By how much is left it is full before all, in the first epoch, or later."""
    whole, done = undisturbed
    results = Results(small / "results")
    shutil.copytree(done.folder / "runs", results.folder / "runs")
    shutil.copytree(done.folder / "weights", results.folder / "weights")
    for run in [run for run in whole.runs.values() if run.kind == "student"][1:]:
        results.forget(run.id)
    kept = {record["id"] for record in results.records()}
    filler = filled(small, left)
    with pytest.raises(Unwritable, match=r"cannot be written(| to): No space left on device"):
        api.execute(whole, results, HERE)
    assert whole_files(results)
    assert kept <= {record["id"] for record in results.records()}
    filler.unlink()
    assert api.execute(whole, results, HERE) == []
    assert same(results)


def test_no_room_for_one_file(small: Path) -> None:
    results = Results(small)
    record = toy.record(reason="old")
    results.write(record)
    results.keep_weights("a", b"old")
    results.keep_state("a", b"old")
    filler = filled(small, 0)
    told = r"cannot be written: No space left on device; what is finished is kept, and once it can"
    with pytest.raises(Unwritable, match=rf"runs/a.json: {told}"):
        results.write({**record, "reason": "x" * 10_000})
    with pytest.raises(Unwritable, match=rf"weights/a.safetensors: {told}"):
        results.keep_weights("a", bytes(10_000))
    with pytest.raises(Unwritable, match=rf"state/a.pt: {told}"):
        results.keep_state("a", bytes(10_000))
    assert [found["reason"] for found in results.records()] == ["old"]
    assert results.weights("a").read_bytes() == results.read_state("a") == b"old"
    assert whole_files(results)
    filler.unlink()
    results.write({**record, "reason": "new"})
    assert [found["reason"] for found in results.records()] == ["new"]


def test_no_room_for_mlflow_costs_a_warning_and_is_logged_later(
    small: Path, undisturbed: tuple[Plan, Results]
) -> None:
    whole, done = undisturbed
    results = Results(small / "results")
    shutil.copytree(done.folder / "runs", results.folder / "runs")
    filler = filled(small, 900_000)
    tracker = MLflow(whole, results)
    tracker.log_missing()
    (said,) = tracker.warnings
    assert "the records are complete, and `bench sync toy`" in said
    assert tracker.added < len(whole.runs)
    filler.unlink()
    again = api.sync(whole, results)
    assert again.warnings == []
    assert tracker.added + again.added == len(whole.runs)


def test_a_folder_that_can_only_be_read(
    small: Path, undisturbed: tuple[Plan, Results], here: Path
) -> None:
    _, done = undisturbed
    toy.write(here, **LINES)
    shutil.copytree(done.folder, small / "results")
    next((small / "results" / "runs").glob("*.json")).unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    said = wrong(bench("run", "toy.yaml", "--results", small / "results", "--tracker", "none"))
    assert said == f"{small / 'results'}: cannot be written to: Read-only file system"
    assert bench("status", "toy.yaml", "--results", small / "results").exit_code == 0


def test_a_limit_on_files_is_like_a_full_disk(
    undisturbed: tuple[Plan, Results], taught: Results, same: Same
) -> None:
    """Where nothing can be mounted, this still can: no file that is written passes 100 kB."""
    whole, _ = undisturbed
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, usual[1]))
    try:
        with pytest.raises(Unwritable, match="cannot be written: File too large; what is finished"):
            api.execute(whole, taught, HERE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert whole_files(taught)
    assert api.execute(whole, taught, HERE) == []
    assert same(taught)
