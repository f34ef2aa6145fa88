"""A suite on a real Slurm of one machine, which this test starts: a requeue, kills, a SIGTERM."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.results import Results
from tests import toy
from tests.cluster import one_machine, taught
from tests.command import ROOT
from tests.faults.commands import Commands

pytest.importorskip("submitit", reason="pip install 'distillbench[slurm]'")
pytestmark = pytest.mark.skipif(bool(one_machine.missing()), reason=one_machine.missing())

CLUSTER = "slurm: {gpus: 0, slots: 1}\n"
RECIPE = "{epochs: 400, batch_size: 16, evaluate_every: 100}"
LOCAL = ("run", "toy.yaml", "--tracker", "none", "--json")
RUN = (*LOCAL, "--executor", "slurm", "--cluster", "cluster.yaml")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with one_machine.slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield {**environment, "PYTHONPATH": str(ROOT)}


def queue(slurm: dict[str, str]) -> str:
    """The number and the state of the one job there is."""
    return one_machine.asked(slurm, "squeue", "--noheader", "--format=%A %T")


def the_job(slurm: dict[str, str]) -> str:
    """Its number; it runs."""
    number, state = queue(slurm).split()
    assert state == "RUNNING"
    return number


def epoch(commands: Commands) -> int:
    """The last one that was told."""
    told = [event["entry"]["epoch"] for event in commands.events if event["event"] == "epoch"]
    return max(told, default=0)


def test_a_requeue_and_a_kill_cost_an_epoch_and_change_no_number(
    slurm: dict[str, str], commands: Commands, tmp_path: Path
) -> None:
    whole = toy.plan(tmp_path, recipe=RECIPE, methods="[student, kd]")
    alone, results = toy.run(whole, tmp_path / "alone"), Results(tmp_path / "results")
    taught(whole, alone, results)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    commands.start(*RUN, **slurm)
    assert commands.until(lambda: epoch(commands) > 2), commands.said
    one_machine.asked(slurm, "scancel", "--signal=USR2", the_job(slurm))
    assert commands.until(lambda: "PENDING" in queue(slurm)), commands.said
    before = epoch(commands)
    assert commands.until(lambda: epoch(commands) > before), commands.said
    one_machine.asked(slurm, "scancel", "--signal=KILL", "--full", the_job(slurm))
    assert commands.end() == 0, commands.said
    notices = [event["text"] for event in commands.events if event["event"] == "notice"]
    assert len(notices) == 1, "the requeue was taken for a crash, or the kill was not"
    assert "ended as UNKNOWN, for there is no accounting" in notices[0]
    for run in whole.runs:
        assert toy.numbers(alone.record(run)) == toy.numbers(results.record(run))


@pytest.mark.parametrize("again", [RUN, LOCAL], ids=["slurm", "local"])
def test_jobs_of_a_killed_command_end_before_the_next_one_starts(
    slurm: dict[str, str], commands: Commands, tmp_path: Path, again: tuple[str, ...]
) -> None:
    """Of the same kind, or on this machine: nothing is done twice, and no number changes."""
    whole = toy.plan(tmp_path, recipe=RECIPE, methods="[student, kd]")
    alone, results = toy.run(whole, tmp_path / "alone"), Results(tmp_path / "results")
    taught(whole, alone, results)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    commands.start(*RUN, **slurm, SBATCH_JOB_NAME="mine")
    assert commands.until(lambda: epoch(commands) > 2), commands.said
    os.kill(commands.pid, signal.SIGKILL)
    commands.end()
    orphan = the_job(slurm)
    (name, _) = (results.folder / ".slurm").read_text().splitlines()
    named = one_machine.asked(slurm, "squeue", "--noheader", f"--name={name}", "--format=%A")
    assert named.split() == [orphan]
    commands.start(*again, **slurm)
    assert commands.until(lambda: epoch(commands)), commands.said
    assert orphan not in queue(slurm)
    first = next(event for event in commands.events if event["event"] == "epoch")
    assert first["entry"]["epoch"] > 2, "it began afresh"
    assert commands.end() == 0, commands.said
    for run in whole.runs:
        assert toy.numbers(alone.record(run)) == toy.numbers(results.record(run))
    assert not (results.folder / ".slurm").exists()


def test_sigterm_empties_the_queue(
    slurm: dict[str, str], commands: Commands, tmp_path: Path
) -> None:
    toy.write(tmp_path, recipe=RECIPE)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    commands.start(*RUN, **slurm)
    assert commands.until(lambda: epoch(commands)), commands.said
    os.kill(commands.pid, signal.SIGTERM)
    assert commands.end() == 143, commands.said
    for _ in range(100):  # Slurm takes its time to end what was cancelled
        if not (left := queue(slurm)):
            break
        time.sleep(0.1)
    assert left == ""
