"""Slurm jobs on submitit's local executor: real processes, signals and requeues."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.errors import BenchError
from bench.execution.cluster import SlurmOptions
from bench.execution.executors.slurm import SlurmExecutor
from bench.execution.protocol import Event
from bench.results import Results
from tests import toy
from tests.cluster import copy_teachers
from tests.command import children

pytestmark = pytest.mark.slow

pytest.importorskip("submitit", reason="pip install 'distillbench[slurm]'")


class Disturbed(SlurmExecutor):
    """An executor whose job is pre-empted after an epoch, and killed after another."""

    def __init__(self, results: Results) -> None:
        super().__init__(SlurmOptions(gpus=0, slots=1), results, 600.0, "local")
        self.events: list[Event] = []
        self.faults = {3: signal.SIGUSR2, 20: signal.SIGKILL}
        self.processes: list[subprocess.Popen[bytes]] = []

    def next(self) -> tuple[int, Event]:
        slot, event = super().next()
        self.events.append(event)
        if event["event"] == "epoch" and event["entry"]["epoch"] in self.faults:
            (controller,) = [p.pid for p in self.processes if p.poll() is None]
            os.kill(children(controller)[0], self.faults.pop(event["entry"]["epoch"]))
        return slot, event

    def stop(self) -> None:
        for job in self.jobs.values():  # they have no name by which scancel could find them
            job.slurm.cancel(check=False)
        self.jobs.clear()
        super().stop()
        for process in self.processes:  # submitit does not wait for them
            process.wait(60)

    def submit(self) -> None:
        before = {*self.jobs}
        super().submit()
        self.processes += [
            job.slurm._process for slot, job in self.jobs.items() if slot not in before
        ]


def test_preemption_and_crash_cost_an_epoch_and_change_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A requeued job does not count as a failed attempt, and resumes from its checkpoint."""
    plan = toy.plan(tmp_path, recipe="{epochs: 40, batch_size: 16}", methods="[student, kd]")
    inline, results = toy.run(plan, tmp_path), Results(tmp_path / "slurm")
    copy_teachers(plan, inline, results)
    executor = Disturbed(results)
    monkeypatch.setattr("bench.execution.executors.slurm.POLL_INTERVAL_S", 0.02)
    monkeypatch.setattr(Machine, "executor", lambda *_: executor)
    api.execute(plan, results)
    for run in plan.runs:
        assert toy.numbers(inline.record(run)) == toy.numbers(results.record(run))
    assert executor.faults == {}
    killed, done = [event["reason"] for event in executor.events if event["event"] == "exit"]
    assert "its job" in killed
    assert done is None
    epochs = [
        (event["run"], event["entry"]["epoch"]) for event in executor.events if "entry" in event
    ]
    assert len(epochs) == len(set(epochs)), "an epoch was repeated"
    assert not (results.folder / ".slurm").exists(), "jobs may be left in the queue"


def test_machine_without_slurm_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="sbatch and srun are needed"):
        SlurmExecutor(SlurmOptions(gpus=1), Results(tmp_path / "r"), 600.0)
