"""A results folder that somebody else packed: its links lead nothing out of it."""

from pathlib import Path

import pytest

from bench.execution.executors.local import ProcessExecutor
from bench.execution.protocol import Job
from bench.results import PARTS, Results, Unwritable
from tests import toy
from tests.command import bench, wrong


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    found = tmp_path / "victim"
    found.write_text("precious")
    return found


def test_a_lock_that_is_a_link_empties_no_file(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / ".lock").symlink_to(victim)
    with pytest.raises(Unwritable, match="results: cannot be written to"), Results(folder).lock():
        pass
    assert victim.read_text() == "precious"


def test_a_log_that_is_a_link_empties_no_file(tmp_path: Path, victim: Path) -> None:
    logs = tmp_path / "results" / "logs"
    logs.mkdir(parents=True)
    (logs / "job.log").symlink_to(victim)
    executor = ProcessExecutor(["cpu"], logs)
    executor.start(0, Job("job", (), None, "cpu", 1, str(logs.parent), "digits", None))
    executor.stop()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_a_link_is_refused(part: str, here: Path) -> None:
    toy.write(here)
    (here / "home").mkdir()
    (here / "results").mkdir()
    kept = [here / "home" / name for name in (".thesis.part", "thesis.log", "thesis.corrupt")]
    for path in kept:
        path.write_text("precious")
    (here / "results" / part).symlink_to(here / "home")
    for verb in (("run", "toy.yaml", "--inline"), ("clean", "--yes")):
        assert f"results/{part}: a link" in wrong(bench(*verb))
    assert [path.read_text() for path in kept] == ["precious"] * 3
