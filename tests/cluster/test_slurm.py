"""Jobs of Slurm, done by submitit's local executor: real processes, signals and requeues."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.errors import BenchError
from bench.execution.cluster import Slurm
from bench.execution.executors.slurm import OnSlurm
from bench.execution.protocol import Event
from bench.results import Results
from tests import toy
from tests.cluster import taught
from tests.execution.test_runner import children

pytest.importorskip("submitit", reason="pip install 'distillbench[slurm]'")


class Disturbed(OnSlurm):
    """One whose job is pre-empted after an epoch, and killed after another."""

    def __init__(self, results: Results) -> None:
        super().__init__(Slurm(gpus=0, slots=1), results, 600.0, "local")
        self.seen: list[Event] = []
        self.faults = {3: signal.SIGUSR2, 20: signal.SIGKILL}
        self.processes: list[subprocess.Popen[bytes]] = []

    def next(self) -> tuple[int, Event]:
        slot, event = super().next()
        self.seen.append(event)
        if event["event"] == "epoch" and event["entry"]["epoch"] in self.faults:
            (controller,) = [p.pid for p in self.processes if p.poll() is None]
            os.kill(children(controller)[0], self.faults.pop(event["entry"]["epoch"]))
        return slot, event

    def stop(self) -> None:
        for under in self._running.values():  # they bear no name by which Slurm could cancel them
            under.slurm.cancel(check=False)
        self._running.clear()
        super().stop()
        for process in self.processes:  # submitit waits for none
            process.wait(60)

    def _submit(self) -> None:
        before = {*self._running}
        super()._submit()
        new = (under for slot, under in self._running.items() if slot not in before)
        self.processes += [under.slurm._process for under in new]


def test_preemption_and_a_crash_cost_an_epoch_and_change_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A requeued job is no failed attempt, goes on from its state, and ends once."""
    whole = toy.plan(tmp_path, recipe="{epochs: 40, batch_size: 16}", methods="[student, kd]")
    alone, results = toy.run(whole, tmp_path), Results(tmp_path / "slurm")
    taught(whole, alone, results)
    executor = Disturbed(results)
    monkeypatch.setattr("bench.execution.executors.slurm.TICK", 0.02)
    monkeypatch.setattr(Machine, "executor", lambda *_: executor)
    api.execute(whole, results)
    for run in whole.runs:
        assert toy.numbers(alone.record(run)) == toy.numbers(results.record(run))
    assert executor.faults == {}
    killed, done = [event["reason"] for event in executor.seen if event["event"] == "exit"]
    assert "its job" in killed
    assert done is None
    told = [(e["run"], e["entry"]["epoch"]) for e in executor.seen if e["event"] == "epoch"]
    assert len(told) == len(set(told)), "an epoch was done twice"
    assert not (results.folder / ".slurm").exists(), "jobs may be left in the queue"


def test_without_slurm_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="sbatch and srun are needed"):
        OnSlurm(Slurm(gpus=1), Results(tmp_path / "r"), 600.0)
