"""Slurm jobs of a killed command, on scripts that stand for Slurm's commands."""

import re
import shutil
import time
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.errors import BenchError
from bench.execution.cluster import SlurmOptions
from bench.execution.executors import slurm
from bench.execution.executors.slurm import NOTE, SlurmExecutor
from bench.execution.protocol import Job
from bench.results import Results
from tests import toy
from tests.faults.commands import scaled

PARSE = 'for flag; do case "$flag" in --name=*) name="${flag#--name=}" ;; esac; done'
COMMANDS = {
    "squeue": f"{PARSE}\nif [ -e refuses ]; then echo no controller >&2; exit 1; fi\n"
    'grep -nx "$name" queue; exit 0',
    "scancel": f'{PARSE}\necho "$*" >> calls\nenv | grep SCANCEL_ >> calls\n'
    'if [ -e slow ]; then sleep 60; fi\n[ -e stuck ] || sed -i "/^$name$/d" queue',
    "sbatch": 'cp "$1" script\ncp ../results/.slurm note\necho "as $SBATCH_JOB_NAME" >> script\n'
    "echo full >&2; exit 1",
    "srun": "exit 1",
    "sacct": "exit 1",
}
NAME = f"bench-{'0123456789abcdef' * 2}"


class Queue:
    """A queue of job names in a file, and the calls of `scancel`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for command, script in COMMANDS.items():
            (folder / command).write_text(f'#!/bin/sh\ncd "{folder}" || exit 9\n{script}\n')
            (folder / command).chmod(0o755)
        self.fill()

    def fill(self, *names: str) -> None:
        (self.folder / "queue").write_text("".join(f"{name}\n" for name in names))

    @property
    def names(self) -> list[str]:
        return (self.folder / "queue").read_text().split()

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("PATH", str(tmp_path / "slurm"), prepend=":")
    monkeypatch.setattr(slurm, "CANCEL_INTERVAL_S", 0.0)
    return Queue(tmp_path / "slurm")


@pytest.fixture
def killed(tmp_path: Path) -> Results:
    """The results folder of a killed command whose jobs are named NAME."""
    slurm.write_note(tmp_path / "results", NAME)
    return Results(tmp_path / "results")


SELECT_NAME = " ".join(slurm.selector(NAME))


def test_command_first_cancels_the_jobs_of_a_killed_one_and_no_others(
    queue: Queue, killed: Results, tmp_path: Path
) -> None:
    queue.fill("other", NAME, "bench", NAME)
    toy.run(toy.plan(tmp_path), tmp_path)
    assert queue.names == ["other", "bench"]
    assert set(queue.calls) == {SELECT_NAME}
    assert not (killed.folder / NOTE).exists()


@pytest.mark.parametrize(
    "text",
    ["", "100\n101", "--user=root", f"bench-{'A' * 32}", f"bench-{'a' * 32},other", "bench\x1b[2J"],
)
def test_note_with_another_name_is_refused(queue: Queue, tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    with pytest.raises(
        BenchError, match=f"{NOTE}: found the text '.*'. Allowed: the name of Slurm"
    ):
        slurm.cancel_orphans(Results(tmp_path))
    assert queue.calls == []


def test_copied_folder_leaves_the_jobs_of_the_original_alone(
    queue: Queue, killed: Results, tmp_path: Path
) -> None:
    queue.fill(NAME)
    shutil.copytree(killed.folder, tmp_path / "copy")
    slurm.cancel_orphans(Results(tmp_path / "copy"))
    assert not (tmp_path / "copy" / NOTE).exists()
    assert (queue.names, queue.calls) == ([NAME], [])
    (tmp_path / "link").symlink_to(killed.folder)
    slurm.cancel_orphans(Results(tmp_path / "link"))
    assert queue.names == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("stuck", "Slurm has not ended the jobs within 0 s"),
        ("refuses", "no controller"),
        ("", "no command squeue here"),
    ],
)
def test_jobs_that_may_still_run_stop_the_command_with_instructions(
    queue: Queue, killed: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fault: str, reason: str,
) -> None:  # fmt: skip
    queue.fill(NAME)
    monkeypatch.setattr(slurm, "CANCEL_TIMEOUT_S", 0.0)
    if fault:
        (queue.folder / fault).touch()
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match=f"Slurm jobs named {NAME} may still work") as caught:
        api.execute(toy.plan(tmp_path), killed, Machine(inline=True))
    assert f": {reason}. Cancel them with `scancel --name={NAME}`" in str(caught.value)
    assert (killed.folder / NOTE).exists()


def test_cancel_calls_scancel_once_and_does_not_wait_for_it(
    queue: Queue, killed: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables of the environment cannot exclude jobs."""
    monkeypatch.setenv("SCANCEL_STATE", "PENDING")
    monkeypatch.setattr(slurm, "KILL_TIMEOUT_S", 0.5)
    queue.fill(NAME, NAME, NAME)
    (queue.folder / "slow").touch()
    start = time.monotonic()
    with pytest.warns(ResourceWarning, match="still running"):
        slurm.cancel(NAME)
    assert time.monotonic() - start < scaled(3.0)
    assert queue.calls == [SELECT_NAME]
    assert (killed.folder / NOTE).exists(), "the next command needs it"


def test_name_is_noted_before_the_first_job_is_submitted(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sbatch` takes no other name from the environment."""
    pytest.importorskip("submitit", reason="pip install 'distillbench[slurm]'")
    monkeypatch.setenv("SBATCH_JOB_NAME", "mine")
    executor = SlurmExecutor(SlurmOptions(gpus=0), Results(tmp_path / "results"), 600.0)
    executor.start(0, Job("j", (), None, "cpu", 1, str(tmp_path), "digits", None))
    with pytest.raises(BenchError, match="sbatch refused a job"):
        executor.next()
    name, folder = (queue.folder / "note").read_text().splitlines()
    assert re.fullmatch("bench-[0-9a-f]{32}", name)
    assert folder == str(tmp_path / "results")
    assert f"--job-name={name}\n" in (queue.folder / "script").read_text()
    assert (queue.folder / "script").read_text().endswith("as \n")
    executor.stop()
    assert queue.calls == [" ".join(slurm.selector(name))]
    assert (tmp_path / "results" / NOTE).exists(), "Slurm may have accepted the job"
