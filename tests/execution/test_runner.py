"""The runner: what is done, redone, split, skipped; and what a crash costs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.execution.executors.local import Inline, Processes
from bench.execution.protocol import Event, Job
from bench.execution.queue import Queue
from bench.execution.runner import _task, pending
from bench.execution.worker import work
from bench.planning.plan import Cohort, Run, cohorts
from bench.results import Results
from tests import toy


def statuses(results: Results) -> dict[str, str]:
    return {record["name"]: record["status"] for record in results.records()}


def test_pending_is_everything_in_an_empty_folder_teachers_first(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path)
    todo = pending(whole, Results(tmp_path / "none"), "failed")
    assert [run.kind for run in todo] == ["teacher", "student", "student"]


@pytest.mark.parametrize(
    ("overwrite", "redone"),
    [
        ("never", set()),
        ("failed", {"failed", "skipped"}),
        ("always", {"done", "diverged", "failed", "skipped"}),
    ],
)
def test_what_is_redone(tmp_path: Path, overwrite: str, redone: set[str]) -> None:
    whole = toy.plan(tmp_path, methods="[student, kd, at, sp]", seeds="[0]")
    results = toy.run(whole, tmp_path)
    students = [run for run in whole.runs.values() if run.kind == "student"]
    given = dict(zip(("done", "diverged", "failed", "skipped"), students, strict=True))
    for status, run in given.items():
        results.write({**(results.record(run.id) or {}), "status": status})
    todo = {run.id for run in pending(whole, results, overwrite)}  # type: ignore[arg-type]
    assert {status for status, run in given.items() if run.id in todo} == redone


def test_a_teacher_without_weights_is_redone_only_for_a_student(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path)
    results = toy.run(whole, tmp_path)
    teacher = next(run for run in whole.runs.values() if run.kind == "teacher")
    results.weights(teacher.id).unlink()
    assert pending(whole, results, "failed") == []
    student = next(run for run in whole.runs.values() if run.kind == "student")
    results.forget(student.id)
    assert [run.id for run in pending(whole, results, "failed")] == [teacher.id, student.id]


def test_an_impossible_method_is_skipped_with_its_reason(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, methods="[student, crd]", options="{crd: {negatives: 79}}")
    results = toy.run(whole, tmp_path)
    assert statuses(results)["resnet8/resnet8 crd seed 0"] == "skipped"
    (record,) = [r for r in results.records() if r["status"] == "skipped"]
    assert "79" in record["reason"]
    assert "72" in record["reason"]


class Broken(Inline):
    """An executor whose jobs of students end without a word."""

    def start(self, slot: int, job: Job) -> None:
        if job.teacher is None:
            super().start(slot, job)
        else:
            self._events.append({"event": "exit", "reason": "its worker ended by signal 11"})


def test_a_crash_is_a_record_and_the_next_time_it_is_done(tmp_path: Path) -> None:
    from bench.execution.runner import Runner
    from bench.planning import estimate

    whole, results = toy.plan(tmp_path), Results(tmp_path / "results")
    runner = Runner(whole, estimate.forecast(whole), results, Broken())
    runner.run(pending(whole, results, "failed"))
    assert sorted(statuses(results).values()) == ["done", "failed", "failed"]
    assert any("signal 11" in (r["reason"] or "") for r in results.records())
    toy.run(whole, tmp_path)
    assert set(statuses(results).values()) == {"done"}


def test_students_of_a_failed_teacher_are_skipped_with_its_reason(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, teachers="{recipe: {epochs: 1, lr: 1.0e+38}}")
    results = toy.run(whole, tmp_path)
    found = statuses(results)
    assert found["resnet8 seed 0"] == "diverged"
    assert found["resnet8/resnet8 kd seed 0"] == "skipped"
    (kd,) = [r for r in results.records() if "kd" in r["name"]]
    assert "diverged at epoch 1" in kd["reason"]


def test_workers_give_the_numbers_of_this_process(tmp_path: Path) -> None:
    from bench import api

    whole = toy.plan(tmp_path, seeds="[0, 1]")
    inline = toy.run(whole, tmp_path / "a")
    apart = Results(tmp_path / "b")
    api.execute(whole, apart, api.Machine(gpus=(), workers=2))
    for run in whole.runs:
        assert toy.numbers(inline.record(run)) == toy.numbers(apart.record(run))


def test_a_killed_worker_costs_its_cohort_and_says_so(tmp_path: Path) -> None:
    executor = Processes(["cpu"], tmp_path / "logs")
    whole = toy.plan(tmp_path, recipe="{epochs: 10000, batch_size: 16}", teachers="{}")
    run = next(iter(whole.runs.values()))
    job = Job("j", (_task(run, "t"),), None, "cpu", 1, str(tmp_path / "r"), "digits", None)
    executor.start(0, job)
    assert executor.next()[1]["event"] == "epoch"
    (worker,) = workers(os.getpid())
    os.kill(worker, signal.SIGKILL)
    events: list[Event] = []
    while not events or events[-1]["event"] != "exit":
        events.append(executor.next()[1])
    assert "signal 9" in events[-1]["reason"]


def test_workers_that_cannot_be_ended_are_waited_for_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each waited for a dead disk: the kill does not reach them."""
    monkeypatch.setattr("bench.execution.executors.local._kill", lambda process: None)
    monkeypatch.setattr("bench.execution.executors.local.GRACE", 1.0)
    executor = Processes(["cpu"] * 6, tmp_path / "logs")
    for slot in range(6):
        executor.start(slot, Job(f"j{slot}", (), None, "cpu", 1, str(tmp_path), "digits", None))
    stuck = workers(os.getpid())
    for worker in stuck:
        os.kill(worker, signal.SIGSTOP)
    begun = time.monotonic()
    executor.stop()
    took = time.monotonic() - begun
    for worker in stuck:
        os.kill(worker, signal.SIGKILL)
    assert 1.0 <= took < 3.0
    assert len(stuck) == 6


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """The parent is killed; its worker must not train on."""
    suite = toy.write(tmp_path, recipe="{epochs: 10000, batch_size: 16}", teachers="{}")
    parent = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", str(suite), "--tracker", "none", "--json",
         "--results", str(tmp_path / "r")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    for line in parent.stdout:
        if '"epoch"' in line:
            break
    workers = children(parent.pid)
    assert workers
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while any(alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def workers(pid: int) -> list[int]:
    """Of a process's children those that are workers."""
    told = {child: Path(f"/proc/{child}/cmdline") for child in children(pid) if alive(child)}
    return [child for child, path in told.items() if b"bench.execution.worker" in path.read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cohort(size: int, seed: int) -> Cohort:
    return Cohort(tuple(Run(f"{seed}-{i}", {"teacher": "t", "seed": seed}) for i in range(size)))


def effort(of: Cohort) -> float:
    """A teacher's passes cost as much as two students."""
    return 2.0 + len(of.runs) if of.teacher else 10.0 * len(of.runs)


def taken(queue: Queue, slots: int) -> list[int]:
    """How many runs the cohorts have that so many free slots are given, one after the other."""
    sizes, underway = [], 0.0
    for free in range(slots, 0, -1):
        if group := queue.take(lambda teacher: True, free, underway):
            sizes.append(len(group.runs))
            underway += effort(group)
    return sizes


@pytest.mark.parametrize(
    ("groups", "slots", "sizes"),
    [
        ([14, 14, 14, 14], 2, [14, 14]),  # there is enough for all slots
        ([14, 14, 14], 2, [14, 14]),  # which of them is halved shows later
        ([14], 2, [7, 7]),
        ([14], 4, [4, 4, 3, 3]),
        ([2], 2, [2]),  # a half would ask the teacher again, and hardly be shorter
        ([1], 8, [1]),
    ],
)
def test_cohorts_are_split_where_slots_would_idle(
    groups: list[int], slots: int, sizes: list[int]
) -> None:
    queue = Queue(slots, effort, [cohort(size, seed) for seed, size in enumerate(groups)])
    assert taken(queue, slots) == sizes


def test_the_last_cohort_is_split_for_a_slot_that_will_be_free_soon() -> None:
    queue = Queue(2, effort, [cohort(14, 0)])
    first = queue.take(lambda teacher: True, 1, 1.0)
    assert first is not None
    assert len(first.runs) == 7


def test_nothing_is_taken_before_its_teacher_is_ready() -> None:
    queue = Queue(2, effort, [cohort(14, 0)])
    assert queue.take(lambda teacher: False, 2, 0.0) is None
    assert queue.take(lambda teacher: True, 2, 0.0) is not None


def test_the_teacher_of_the_longest_cohort_is_first() -> None:
    def teacher(name: str) -> Cohort:
        return Cohort((Run(name, {"seed": 0}),))

    taught = Cohort(tuple(Run(f"s{i}", {"teacher": "b", "seed": 0}) for i in range(5)))
    queue = Queue(1, effort, [teacher("a"), teacher("b"), taught, cohort(1, 0)])
    order = [queue.take(lambda teacher: True, 1, 0.0) for _ in range(4)]
    assert [group.runs[0].id for group in order if group] == ["b", "a", "s0", "0-0"]
    assert not queue


def test_cohorts_share_teacher_seed_and_course(tmp_path: Path) -> None:
    whole = toy.plan(tmp_path, seeds="[0, 1]", methods="[student, kd, at]")
    groups: Sequence[Cohort] = cohorts(whole.runs.values())
    assert sorted(len(group.runs) for group in groups) == [1, 3, 3]
    for group in groups:
        assert len({(r.teacher, r.specification["seed"]) for r in group.runs}) == 1


@pytest.mark.parametrize(("pause", "signs"), [(0.0, 5 + 1), (1000.0, 1)])
def test_a_worker_gives_a_sign_of_life_with_each_batch_but_not_too_often(
    pause: float, signs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch may take as long as it likes: five batches of training, and one of evaluation."""
    monkeypatch.setattr("bench.execution.heartbeat.PAUSE", pause)
    whole = toy.plan(tmp_path)
    teacher = next(iter(whole.runs.values()))
    events: list[Event] = []
    job = Job("j", (_task(teacher, "t"),), None, "cpu", 1, str(tmp_path / "r"), "digits", None)
    work(job, events.append)
    kinds = [event["event"] for event in events]
    assert kinds.count("alive") == signs
    assert [kind for kind in kinds if kind != "alive"] == ["epoch", "record"]


def test_patience_is_of_time_that_was_waited(tmp_path: Path) -> None:
    """A machine that slept, or a parent that was busy, is no worker that hangs."""
    executor = Processes(["cpu"], tmp_path / "logs", patience=600.0)
    whole = toy.plan(tmp_path, recipe="{epochs: 10000, batch_size: 16}", teachers="{}")
    run = next(iter(whole.runs.values()))
    job = Job("j", (_task(run, "t"),), None, "cpu", 1, str(tmp_path / "r"), "digits", None)
    executor.start(0, job)
    try:
        assert executor.next()[1]["event"] == "epoch"
        executor.patience = 2.0
        time.sleep(2.5)
        seen = [executor.next()[1]["event"] for _ in range(20)]
    finally:
        executor.stop()
    assert set(seen) == {"epoch"}


def test_environment_is_that_of_the_worker(tmp_path: Path) -> None:
    results = toy.run(toy.plan(tmp_path, methods="[kd]"), tmp_path)
    for record in results.records():
        assert record["environment"]["threads"] == 1
        assert record["environment"]["device"].startswith("CPU")
        assert record["seconds"] > 0
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
