"""What a killed command left in Slurm's queue, on commands of Slurm that keep one in a file."""

import re
import shutil
import time
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.errors import BenchError
from bench.execution.cluster import Slurm
from bench.execution.executors import orphans
from bench.execution.executors.orphans import NOTE, Jobs
from bench.execution.protocol import Job
from bench.results import Results
from tests import toy
from tests.faults.commands import granted

NAMED = 'for flag; do case "$flag" in --name=*) name="${flag#--name=}" ;; esac; done'
TOOLS = {
    "squeue": f"{NAMED}\nif [ -e refuses ]; then echo no controller >&2; exit 1; fi\n"
    'grep -nx "$name" queue; exit 0',
    "scancel": f'{NAMED}\necho "$*" >> told\nenv | grep SCANCEL_ >> told\n'
    'if [ -e slow ]; then sleep 60; fi\n[ -e stuck ] || sed -i "/^$name$/d" queue',
    "sbatch": 'cp "$1" script\ncp ../results/.slurm noted\necho "as $SBATCH_JOB_NAME" >> script\n'
    "echo full >&2; exit 1",
    "srun": "exit 1",
    "sacct": "exit 1",
}


class Queue:
    """Names of jobs, a line each; what `scancel` was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for tool, script in TOOLS.items():
            (folder / tool).write_text(f'#!/bin/sh\ncd "{folder}" || exit 9\n{script}\n')
            (folder / tool).chmod(0o755)
        self.has()

    def has(self, *names: str) -> None:
        (self.folder / "queue").write_text("".join(f"{name}\n" for name in names))

    @property
    def names(self) -> list[str]:
        return (self.folder / "queue").read_text().split()

    @property
    def told(self) -> str:
        path = self.folder / "told"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("PATH", str(tmp_path / "slurm"), prepend=":")
    monkeypatch.setattr(orphans, "PAUSE", 0.0)
    return Queue(tmp_path / "slurm")


@pytest.fixture
def left(tmp_path: Path) -> Jobs:
    """What a command that was killed notes of its jobs."""
    jobs = Jobs(tmp_path / "results")
    jobs.note()
    return jobs


def test_any_command_cancels_them_before_it_starts(
    queue: Queue, left: Jobs, tmp_path: Path
) -> None:
    """And none but them, though others are in the queue, and `slurm/numbers` of old names some."""
    numbers = left.folder / "slurm/numbers"
    numbers.parent.mkdir()
    numbers.write_text("100\n101\n")
    queue.has("other", left.name, "bench", left.name)
    whole = toy.plan(tmp_path)
    toy.run(whole, tmp_path)
    assert queue.names == ["other", "bench"]
    assert set(queue.told.splitlines()) == {" ".join(orphans._which(left.name))}
    assert not (left.folder / NOTE).exists()


@pytest.mark.parametrize(
    "text",
    ["", "100\n101", "--user=root", f"bench-{'A' * 32}", f"bench-{'a' * 32},other", "bench\x1b[2J"],
)
def test_a_name_that_no_command_gave_is_refused(queue: Queue, tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    with pytest.raises(BenchError, match=f"{NOTE}: found the text '.*'. Allowed: the name of jobs"):
        orphans.end(Results(tmp_path))
    assert queue.told == ""


def test_a_folder_of_elsewhere_leaves_the_jobs_there_alone(
    queue: Queue, left: Jobs, tmp_path: Path
) -> None:
    queue.has(left.name)
    shutil.copytree(left.folder, tmp_path / "copy")
    orphans.end(Results(tmp_path / "copy"))
    assert not (tmp_path / "copy" / NOTE).exists()
    assert (queue.names, queue.told) == ([left.name], "")
    (tmp_path / "link").symlink_to(left.folder)
    orphans.end(Results(tmp_path / "link"))
    assert queue.names == []


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("stuck", "Slurm has not ended them in 0 s"),
        ("refuses", "no controller"),
        ("", "there is no squeue here"),
    ],
)
def test_where_they_may_still_be_at_work_a_sentence_says_what_to_do(
    queue: Queue, left: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, why: str
) -> None:
    queue.has(left.name)
    monkeypatch.setattr(orphans, "LEAVE", 0.0)
    if fault:
        (queue.folder / fault).touch()
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match=f"jobs of Slurm named {left.name} may still") as found:
        api.execute(toy.plan(tmp_path), Results(left.folder), Machine(inline=True))
    assert f": {why}. Where Slurm is, `scancel --name={left.name}` ends" in str(found.value)
    assert (left.folder / NOTE).exists()


def test_all_are_cancelled_at_once_and_not_waited_for(
    queue: Queue, left: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment would have `scancel` leave out."""
    monkeypatch.setenv("SCANCEL_STATE", "PENDING")
    monkeypatch.setattr(orphans, "GRACE", 0.5)
    queue.has(left.name, left.name, left.name)
    (queue.folder / "slow").touch()
    begun = time.monotonic()
    with pytest.warns(ResourceWarning, match="still running"):
        left.cancel()
    assert time.monotonic() - begun < granted(3.0)
    assert queue.told.splitlines() == [" ".join(orphans._which(left.name))]
    assert (left.folder / NOTE).exists(), "the next command sees to them"


def test_their_name_is_noted_before_the_first_is_submitted(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a kill loses none; and `sbatch` takes no other name from the environment."""
    pytest.importorskip("submitit", reason="pip install 'distillbench[slurm]'")
    from bench.execution.executors.slurm import OnSlurm

    monkeypatch.setenv("SBATCH_JOB_NAME", "mine")
    executor = OnSlurm(Slurm(gpus=0), Results(tmp_path / "results"), 600.0)
    executor.start(0, Job("j", (), None, "cpu", 1, str(tmp_path), "digits", None))
    with pytest.raises(BenchError, match="sbatch refused a job"):
        executor.next()
    name, folder = (queue.folder / "noted").read_text().splitlines()
    assert re.fullmatch("bench-[0-9a-f]{32}", name)
    assert folder == str(tmp_path / "results")
    assert f"--job-name={name}\n" in (queue.folder / "script").read_text()
    assert (queue.folder / "script").read_text().endswith("as \n")
    executor.stop()
    assert queue.told.splitlines() == [" ".join(orphans._which(name))]
    assert (tmp_path / "results" / NOTE).exists(), "Slurm may have taken what it refused"
