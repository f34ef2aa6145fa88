"""A disk that is full or read-only: the command says so; no file is lost or incomplete."""

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

INLINE = Machine(gpus=(), inline=True)
Same = Callable[[Results], bool]


def mount(*arguments: str) -> None:
    """Mount a file system, or skip the test where that is not allowed."""
    command = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if command.returncode:
        pytest.skip(f"mount is not allowed here: {command.stderr.strip()}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "none", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Write a file that leaves so many bytes free; return its path."""
    path = folder / "filler"
    path.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - free)))
    return path


def is_intact(results: Results) -> bool:
    """Return whether every file of the folder can be read."""
    list(results.records())
    for path in results.folder.glob("state/*.safetensors"):
        assert results.read_state(path.stem)
    return not [*results.folder.rglob("*.part"), *results.folder.rglob("*.corrupt")]


@pytest.mark.parametrize("free", [0, 900_000, 1_500_000])
def test_full_disk_stops_the_command_which_resumes_when_there_is_space(
    free: int, small: Path, undisturbed: tuple[Plan, Results], same: Same
) -> None:
    """The disk is full at the start, in the first epoch, or later."""
    plan, done = undisturbed
    results = Results(small / "results")
    shutil.copytree(done.folder / "runs", results.folder / "runs")
    shutil.copytree(done.folder / "weights", results.folder / "weights")
    for run in [run for run in plan.runs.values() if run.kind == "student"][1:]:
        results.delete_run(run.id)
    finished = {record.id for record in results.records()}
    filler = fill(small, free)
    with pytest.raises(Unwritable, match=r"cannot be written(| to): No space left on device"):
        api.execute(plan, results, INLINE)
    assert is_intact(results)
    assert finished <= {record.id for record in results.records()}
    filler.unlink()
    assert api.execute(plan, results, INLINE) == []
    assert same(results)


def test_write_to_a_full_disk_leaves_the_old_file(small: Path) -> None:
    results = Results(small)
    results.write(toy.record(reason="old"))
    results.save_weights("a", b"old")
    results.save_state("a", b"old")
    filler = fill(small, 0)
    message = "cannot be written: No space left on device. Finished runs are saved; once the folder"
    with pytest.raises(Unwritable, match=rf"runs/a.json: {message}"):
        results.write(toy.record(reason="x" * 10_000))
    with pytest.raises(Unwritable, match=rf"weights/a.safetensors: {message}"):
        results.save_weights("a", bytes(10_000))
    with pytest.raises(Unwritable, match=rf"state/a.safetensors: {message}"):
        results.save_state("a", bytes(10_000))
    assert [record.reason for record in results.records()] == ["old"]
    assert results.weights("a").read_bytes() == results.read_state("a") == b"old"
    assert is_intact(results)
    filler.unlink()
    results.write(toy.record(reason="new"))
    assert [record.reason for record in results.records()] == ["new"]


@pytest.mark.slow
def test_full_disk_costs_mlflow_a_warning_and_sync_logs_the_rest(
    small: Path, undisturbed: tuple[Plan, Results]
) -> None:
    plan, done = undisturbed
    results = Results(small / "results")
    shutil.copytree(done.folder / "runs", results.folder / "runs")
    filler = fill(small, 600_000)
    tracker = MLflow(plan, results)
    tracker.log_missing()
    (warning,) = tracker.warnings
    assert "the records are complete, and `bench sync " in warning
    assert tracker.added < len(plan.runs)
    filler.unlink()
    again = api.sync(plan, results)
    assert again.warnings == []
    assert tracker.added + again.added == len(plan.runs)


def test_read_only_folder_is_refused_by_run_but_not_by_status(
    small: Path, undisturbed: tuple[Plan, Results], here: Path
) -> None:
    _, done = undisturbed
    toy.write(here, **LINES)
    shutil.copytree(done.folder, small / "results")
    next((small / "results" / "runs").glob("*.json")).unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    message = wrong(bench("run", "toy.yaml", "--results", small / "results", "--tracker", "none"))
    assert message == f"{small / 'results'}: cannot be written to: Read-only file system"
    assert bench("status", "toy.yaml", "--results", small / "results").exit_code == 0


def test_limit_on_file_size_acts_like_a_full_disk(
    undisturbed: tuple[Plan, Results], with_teacher: Results, same: Same
) -> None:
    """This also runs where mount is not allowed: files may have 100 kB at most."""
    plan, _ = undisturbed
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(Unwritable, match="cannot be written: File too large. Finished runs"):
            api.execute(plan, with_teacher, INLINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert is_intact(with_teacher)
    assert api.execute(plan, with_teacher, INLINE) == []
    assert same(with_teacher)
