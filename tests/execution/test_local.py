"""Worker processes of this machine: kills, hangs, heartbeats, and the end of the parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.execution.executors.local import ProcessExecutor, stream_events
from bench.execution.protocol import Event, Job, Task
from bench.execution.worker import run_job
from bench.results import Results
from tests import toy
from tests.command import children, gone, workers

ENDLESS = {"recipe": "{epochs: 10000, batch_size: 16}", "teachers": "{}"}


def empty_job(name: str, folder: Path) -> Job:
    return Job(name, (), None, "cpu", 1, str(folder), "digits", None)


def teacher_job(folder: Path, **lines: str) -> Job:
    """Return a job that trains the teacher of the toy suite."""
    run = next(iter(toy.plan(folder, **lines).runs.values()))
    task = Task(run.id, "t", run.specification)
    return Job("j", (task,), None, "cpu", 1, str(folder / "r"), "digits", None)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[ProcessExecutor]:
    """An executor with a slot."""
    executor = ProcessExecutor(["cpu"], tmp_path / "logs", timeout_s=600.0)
    yield executor
    executor.stop()


def test_job_is_the_same_after_json(tmp_path: Path) -> None:
    job = teacher_job(tmp_path)
    read = Job.from_json(job.to_json())
    assert read == job
    assert [task.specification.id for task in read.tasks] == [task.id for task in job.tasks]


def test_job_that_is_not_json_raises_the_error(executor: ProcessExecutor, tmp_path: Path) -> None:
    job = replace(empty_job("j", tmp_path), teacher=object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Unable to serialize"):
        executor.start(0, job)
    assert not workers(os.getpid())


def test_exception_while_a_worker_is_watched_is_raised_with_its_traceback(
    executor: ProcessExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(lines: Iterable[str]) -> Iterator[Event]:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bench.execution.executors.local.parse_events", broken)
    executor.start(0, empty_job("j", tmp_path))
    with pytest.raises(RuntimeError, match="a bug") as error:
        executor.next()
    assert [entry.name for entry in error.traceback][-1] == "broken"
    assert gone(workers(os.getpid()), 10.0)


def test_killed_worker_ends_its_job_with_the_signal(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    executor.start(0, teacher_job(tmp_path, **ENDLESS))
    assert executor.next()[1]["event"] == "epoch"
    (worker,) = workers(os.getpid())
    os.kill(worker, signal.SIGKILL)
    event: Event = {"event": "epoch"}
    while event["event"] != "exit":
        _, event = executor.next()
    assert "was killed by signal 9" in event["reason"]


@pytest.mark.slow
def test_stream_events_yields_all_events_and_kills_the_worker_when_it_is_closed(
    tmp_path: Path,
) -> None:
    kinds = [event["event"] for event in stream_events(teacher_job(tmp_path), 600.0)]
    assert kinds == ["epoch", "record", "exit"]
    events = stream_events(teacher_job(tmp_path, **ENDLESS), 600.0)
    assert next(events)["event"] == "epoch"
    pids = workers(os.getpid())
    events.close()  # type: ignore[attr-defined]
    assert len(pids) == 1
    assert gone(pids, 10.0)


def test_workers_that_cannot_be_killed_are_waited_for_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each waited for a dead disk."""
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    monkeypatch.setattr("bench.execution.executors.local.KILL_TIMEOUT_S", 1.0)
    executor = ProcessExecutor(["cpu"] * 6, tmp_path / "logs")
    for slot in range(6):
        executor.start(slot, empty_job(f"j{slot}", tmp_path))
    stuck = workers(os.getpid())
    for worker in stuck:
        os.kill(worker, signal.SIGSTOP)
    start = time.monotonic()
    executor.stop()
    seconds = time.monotonic() - start
    for worker in stuck:
        os.kill(worker, signal.SIGKILL)
    assert 1.0 <= seconds < 3.0
    assert len(stuck) == 6


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    suite = toy.write(tmp_path, **ENDLESS)
    parent = subprocess.Popen(
        [sys.executable, "-m", "bench", "run", str(suite), "--tracker", "none", "--json",
         "--results", str(tmp_path / "r")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    for line in parent.stdout:
        if '"epoch"' in line:
            break
    (server,) = children(parent.pid)
    pids = [server, *children(server)]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pids, 10.0)


@pytest.mark.parametrize(("interval_s", "count"), [(0.0, 5 + 1), (1000.0, 1)])
def test_heartbeat_is_sent_for_each_batch_but_not_more_often_than_the_interval(
    interval_s: float, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five batches of training, and one of evaluation."""
    monkeypatch.setattr("bench.execution.worker.HEARTBEAT_INTERVAL_S", interval_s)
    events: list[Event] = []
    run_job(teacher_job(tmp_path), events.append)
    kinds = [event["event"] for event in events]
    assert kinds.count("heartbeat") == count
    assert [kind for kind in kinds if kind != "heartbeat"] == ["epoch", "record"]


@pytest.mark.slow
def test_timeout_does_not_count_time_in_which_the_parent_was_busy(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    executor.start(0, teacher_job(tmp_path, **ENDLESS))
    assert executor.next()[1]["event"] == "epoch"
    executor.timeout_s = 2.0
    time.sleep(2.5)
    assert {executor.next()[1]["event"] for _ in range(20)} == {"epoch"}


def test_records_come_from_events_only(tmp_path: Path) -> None:
    job = teacher_job(tmp_path)
    run_job(job, lambda event: None)
    results = Results(Path(job.results))
    (task,) = job.tasks
    assert results.record(task.id) is None
    assert results.weights(task.id).exists()


@pytest.mark.case("undecodable-names")
def test_a_job_has_paths_that_are_not_utf8() -> None:
    paths = [os.fsdecode(name) for name in (b"r\xe9sults", b"folder:f\xe9", b"d\xe9")]
    job = Job("a", (), None, "cpu", 1, *paths)
    text = job.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert Job.from_json(text) == job
