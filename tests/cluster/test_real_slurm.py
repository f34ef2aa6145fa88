"""A real Slurm of one machine, which this test starts: a requeue, kills, SIGTERM."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.results import Results
from tests import toy
from tests.cluster import copy_teachers, one_machine
from tests.command import ROOT
from tests.faults.commands import Commands

pytest.importorskip("submitit", reason="pip install 'distillbench[slurm]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(one_machine.missing()), reason=one_machine.missing()),
]

CLUSTER = "slurm: {gpus: 0, slots: 1}\n"
RECIPE = "{epochs: 400, batch_size: 16, evaluate_every: 100}"
LOCAL = ("run", "toy.yaml", "--tracker", "none", "--json")
RUN = (*LOCAL, "--executor", "slurm", "--cluster", "cluster.yaml")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with one_machine.slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield {**environment, "PYTHONPATH": str(ROOT)}


def queue(slurm: dict[str, str]) -> str:
    """Return the number and the state of the only job."""
    return one_machine.call(slurm, "squeue", "--noheader", "--format=%A %T")


def the_job(slurm: dict[str, str]) -> str:
    """Return its number, while it runs."""
    number, state = queue(slurm).split()
    assert state == "RUNNING"
    return number


def epoch(commands: Commands) -> int:
    """Return the last completed epoch."""
    epochs = [event["entry"]["epoch"] for event in commands.events if event["event"] == "epoch"]
    return max(epochs, default=0)


def test_requeue_and_kill_cost_an_epoch_and_change_no_number(
    slurm: dict[str, str], commands: Commands, tmp_path: Path
) -> None:
    plan = toy.plan(tmp_path, recipe=RECIPE, methods="[student, kd]")
    inline, results = toy.run(plan, tmp_path / "inline"), Results(tmp_path / "results")
    copy_teachers(plan, inline, results)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    commands.start(*RUN, **slurm)
    assert commands.wait_for(lambda: epoch(commands) > 2), commands.output
    one_machine.call(slurm, "scancel", "--signal=USR2", the_job(slurm))
    assert commands.wait_for(lambda: "PENDING" in queue(slurm)), commands.output
    before = epoch(commands)
    assert commands.wait_for(lambda: epoch(commands) > before), commands.output
    one_machine.call(slurm, "scancel", "--signal=KILL", "--full", the_job(slurm))
    assert commands.end() == 0, commands.output
    notices = [event["text"] for event in commands.events if event["event"] == "notice"]
    assert len(notices) == 1, "the requeue counted as a crash, or the kill did not"
    assert "ended as UNKNOWN, because Slurm keeps no accounting" in notices[0]
    for run in plan.runs:
        assert toy.numbers(inline.record(run)) == toy.numbers(results.record(run))


@pytest.mark.parametrize("next_command", [RUN, LOCAL], ids=["slurm", "local"])
def test_jobs_of_a_killed_command_end_before_the_next_one_starts(
    slurm: dict[str, str], commands: Commands, tmp_path: Path, next_command: tuple[str, ...]
) -> None:
    """The next command uses Slurm or this machine; no number changes."""
    plan = toy.plan(tmp_path, recipe=RECIPE, methods="[student, kd]")
    inline, results = toy.run(plan, tmp_path / "inline"), Results(tmp_path / "results")
    copy_teachers(plan, inline, results)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    commands.start(*RUN, **slurm, SBATCH_JOB_NAME="mine")
    assert commands.wait_for(lambda: epoch(commands) > 2), commands.output
    os.kill(commands.pid, signal.SIGKILL)
    commands.end()
    orphan = the_job(slurm)
    (name, _) = (results.folder / ".slurm").read_text().splitlines()
    named = one_machine.call(slurm, "squeue", "--noheader", f"--name={name}", "--format=%A")
    assert named.split() == [orphan]
    commands.start(*next_command, **slurm)
    assert commands.wait_for(lambda: epoch(commands)), commands.output
    assert orphan not in queue(slurm)
    first = next(event for event in commands.events if event["event"] == "epoch")
    assert first["entry"]["epoch"] > 2, "it restarted"
    assert commands.end() == 0, commands.output
    for run in plan.runs:
        assert toy.numbers(inline.record(run)) == toy.numbers(results.record(run))
    assert not (results.folder / ".slurm").exists()


def test_sigterm_cancels_all_jobs(
    slurm: dict[str, str], commands: Commands, tmp_path: Path
) -> None:
    toy.write(tmp_path, recipe=RECIPE)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    commands.start(*RUN, **slurm)
    assert commands.wait_for(lambda: epoch(commands)), commands.output
    os.kill(commands.pid, signal.SIGTERM)
    assert commands.end() == 143, commands.output
    for _ in range(100):  # Slurm takes its time to end what was cancelled
        if not (jobs := queue(slurm)):
            break
        time.sleep(0.1)
    assert jobs == ""
