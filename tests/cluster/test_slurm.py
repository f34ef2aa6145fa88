"""Jobs of Slurm, done by submitit's local executor: real processes, signals and requeues."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from bench import session
from bench.errors import BenchError
from bench.job import Event
from bench.results import Results
from bench.running.cluster import Slurm
from bench.running.on_slurm import OnSlurm
from bench.session import Machine
from tests import toy
from tests.running.test_runner import children, workers

pytest.importorskip("submitit", reason="pip install 'distillbench[slurm]'")


class Disturbed(OnSlurm):
    """One whose first worker crashes, and whose second job is pre-empted, and later killed."""

    def __init__(self, results: Results, teacher: str) -> None:
        super().__init__(Slurm(gpus=0, slots=1), results, 600.0, "local")
        self.seen: list[Event] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.teacher = teacher
        self.faults = [(True, 2, self.crash), (False, 3, self.preempt), (False, 20, self.kill)]

    def next(self) -> tuple[int, Event]:
        slot, event = super().next()
        self.seen.append(event)
        if event["event"] == "epoch" and self.faults:
            of_teacher, epoch, fault = self.faults[0]
            if (event["run"] == self.teacher) is of_teacher and event["entry"]["epoch"] >= epoch:
                (job,) = self._running.values()
                self.processes.append(job.slurm._process)
                fault(children(int(job.slurm.job_id))[0])  # of submitit's controller
                del self.faults[0]
        return slot, event

    def crash(self, task: int) -> None:
        os.kill(workers(task)[0], signal.SIGKILL)

    def preempt(self, task: int) -> None:
        os.kill(task, signal.SIGUSR2)

    def kill(self, task: int) -> None:
        os.kill(task, signal.SIGKILL)

    def stop(self) -> None:
        self.processes += [job.slurm._process for job in self._running.values()]
        super().stop()
        for process in self.processes:  # submitit waits for none
            process.wait(60)


def test_crashes_and_preemption_cost_an_epoch_and_change_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A requeued job is no failed attempt, goes on from its state, and ends once."""
    recipe = "{epochs: 40, batch_size: 16, crop: 1, flip: false}"
    whole = toy.plan(tmp_path, recipe=recipe, teachers="{recipe: {epochs: 20}}", methods="[kd]")
    alone, results = toy.run(whole, tmp_path), Results(tmp_path / "slurm")
    executor = Disturbed(results, next(iter(whole.runs)))
    monkeypatch.setattr("bench.running.on_slurm.TICK", 0.02)
    monkeypatch.setattr(Machine, "executor", lambda *_: executor)
    session.carry_out(whole, results)
    for run in whole.runs:
        assert toy.numbers(alone.record(run)) == toy.numbers(results.record(run))
    crashed, teacher, killed, student = [e["reason"] for e in executor.seen if e["event"] == "exit"]
    assert (teacher, student) == (None, None)
    assert "signal 9" in crashed
    assert "its job" in killed
    told = [(e["run"], e["entry"]["epoch"]) for e in executor.seen if e["event"] == "epoch"]
    assert len(told) == len(set(told)), "an epoch was done twice"
    assert not (results.folder / "slurm/numbers").exists(), "jobs may be left in the queue"


def test_without_slurm_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="sbatch and srun are needed"):
        OnSlurm(Slurm(gpus=1), Results(tmp_path / "r"), 600.0)
