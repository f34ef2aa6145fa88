"""The runner: which runs are redone, retried or skipped, and the cost of a crash."""

import os
from pathlib import Path
from typing import get_args

import pytest

from bench import api
from bench.execution.executors.local import InlineExecutor
from bench.execution.protocol import Event, Job
from bench.execution.runner import Overwrite, Runner, pending
from bench.planning import estimate
from bench.results import Record, Results
from bench.results.record import Status
from tests import toy


def statuses(results: Results) -> dict[str, Status]:
    return {record.name: record.status for record in results.records()}


def named(results: Results, method: str) -> Record:
    (record,) = [record for record in results.records() if f" {method} seed" in record.name]
    return record


def test_pending_lists_all_runs_of_an_empty_folder_teachers_first(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    runs = pending(plan, Results(tmp_path / "missing"), "failed")
    assert [run.kind for run in runs] == ["teacher", "student", "student"]


@pytest.mark.parametrize(
    ("overwrite", "redone"),
    [
        ("never", set()),
        ("failed", {"failed", "skipped"}),
        ("always", {"done", "diverged", "failed", "skipped"}),
    ],
)
def test_overwrite_selects_runs_by_status(
    tmp_path: Path, overwrite: Overwrite, redone: set[Status]
) -> None:
    plan = toy.plan(tmp_path, methods="[student, kd, at, sp]", seeds="[0]")
    results = toy.run(plan, tmp_path)
    students = [run.id for run in plan.runs.values() if run.kind == "student"]
    by_status = dict(zip(get_args(Status), students, strict=True))
    for status, run in by_status.items():
        results.write(toy.changed(results.record(run), status=status))
    runs = {run.id for run in pending(plan, results, overwrite)}
    assert {status for status, run in by_status.items() if run in runs} == redone


def test_teacher_without_weights_is_redone_only_for_a_student(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path)
    results = toy.run(plan, tmp_path)
    teacher, student, _ = plan.runs
    results.weights(teacher).unlink()
    assert pending(plan, results, "failed") == []
    results.delete_run(student)
    assert [run.id for run in pending(plan, results, "failed")] == [teacher, student]


def test_impossible_method_is_skipped_with_its_reason(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, methods="[student, crd]", options="{crd: {negatives: 79}}")
    record = named(toy.run(plan, tmp_path), "crd")
    assert record.status == "skipped"
    assert "79" in str(record.reason)
    assert "72" in str(record.reason)


class CrashingExecutor(InlineExecutor):
    """An executor on which every worker of a student crashes."""

    def start(self, slot: int, job: Job) -> None:
        self.crashes = job.teacher is not None
        if not self.crashes:
            super().start(slot, job)

    def next(self) -> tuple[int, Event]:
        if self.crashes:
            return 0, {"event": "exit", "reason": "its worker was killed by signal 11"}
        return super().next()


def test_crashed_runs_fail_with_a_reason_and_are_redone_by_the_next_command(tmp_path: Path) -> None:
    plan, results = toy.plan(tmp_path), Results(tmp_path / "results")
    runner = Runner(plan, estimate.estimate(plan), results, CrashingExecutor())
    runner.run(pending(plan, results, "failed"))
    assert sorted(statuses(results).values()) == ["done", "failed", "failed"]
    assert named(results, "kd").reason == "its worker was killed by signal 11; 2 attempts failed"
    toy.run(plan, tmp_path)
    assert set(statuses(results).values()) == {"done"}


def test_students_of_a_diverged_teacher_are_skipped_with_its_reason(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, teachers="{recipe: {epochs: 1, lr: 1.0e+38}}")
    results = toy.run(plan, tmp_path)
    assert statuses(results)["resnet8 seed 0"] == "diverged"
    student = named(results, "kd")
    assert student.status == "skipped"
    assert "diverged at epoch 1" in str(student.reason)


@pytest.mark.slow
def test_worker_processes_give_the_numbers_of_this_process(tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, seeds="[0, 1]")
    inline = toy.run(plan, tmp_path / "inline")
    results = Results(tmp_path / "processes")
    api.execute(plan, results, api.Machine(gpus=(), workers=2))
    for run in plan.runs:
        assert toy.numbers(inline.record(run)) == toy.numbers(results.record(run))


def test_record_describes_the_environment_of_its_worker(tmp_path: Path) -> None:
    results = toy.run(toy.plan(tmp_path, methods="[kd]"), tmp_path)
    for record in results.records():
        assert record.environment["threads"] == 1
        assert str(record.environment["device"]).startswith("CPU")
        assert record.seconds > 0
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
