"""MLflow away, slow, or opened by many at once: training never waits; nothing stays unlogged."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import api
from bench.api import Machine
from bench.callbacks import mlflow as tracking
from bench.callbacks.mlflow import MLflow
from bench.execution.protocol import Task
from bench.planning.plan import Plan
from bench.results import Results
from bench.results.environment import now
from tests import toy
from tests.command import ROOT, bench
from tests.faults.commands import Commands, granted

HERE = Machine(gpus=(), inline=True)
PROCESSES = 16
MANY = """
import os, sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store  # once for all
from bench import api
from bench.results import Results
from bench.callbacks.mlflow import MLflow

suite, uri = sys.argv[1:3]
plan = api.load_plan(suite)
processes = []
for folder in sys.argv[3:]:
    if (pid := os.fork()) == 0:
        tracker = MLflow(plan, Results(Path(folder)), uri)
        tracker.log_missing()
        print(*tracker.warnings, end="", flush=True)
        os._exit(tracker.added)
    processes.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in processes])
"""


def claimed(whole: Plan, results: Results, *runs: str) -> Results:
    """The same results with records that say of these runs that they are done."""
    for run in runs:
        task = Task(run, whole.names()[run], whole.runs[run].specification)
        metrics = {"last": {"top1": 50.0, "nll": 1.5}}
        results.write(task.record("done", None, metrics=metrics, finished=now()))
    return results


def logged(uri: str) -> list[str]:
    """The names of all runs in a store."""
    client = tracking.client(uri)
    experiment = client.get_experiment_by_name("toy")
    return sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id]))


def test_a_fresh_store_opened_by_sixteen_processes(tmp_path: Path) -> None:
    """Each with one record, in a results folder of its own."""
    whole = toy.plan(tmp_path, seeds=str(list(range(PROCESSES))), methods="[kd]")
    students = [run for run in whole.runs if whole.runs[run].kind == "student"]
    folders = [tmp_path / str(number) for number in range(PROCESSES)]
    for run, folder in zip(students, folders, strict=True):
        claimed(whole, Results(folder), run)
    uri = f"sqlite:///{tmp_path}/store.db"
    command = [sys.executable, "-c", MANY, tmp_path / "toy.yaml", uri, *folders]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [*map(str, command)], cwd=tmp_path, env=env, text=True, capture_output=True
    )
    assert ran.stdout.strip() == str([1] * PROCESSES), ran.stdout + ran.stderr
    assert logged(uri) == sorted(f"resnet8/resnet8 kd seed {seed}" for seed in range(PROCESSES))


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every call and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_training_does_not_wait_for_a_server_that_does_not_answer(
    silent: str, here: Path, monkeypatch: pytest.MonkeyPatch, blank: Path
) -> None:
    whole, results = toy.plan(here), Results(here / "results")
    monkeypatch.setattr(api, "LOGGING", 0.2)
    tracker = MLflow(whole, results, silent)
    begun = time.monotonic()
    assert api.execute(whole, results, HERE, tracker=tracker) == []
    assert time.monotonic() - begun < granted(15.0), (
        "half of the time that one call to the server takes"
    )
    assert [record["status"] for record in results.records()] == ["done"] * 3
    (said,) = tracker.warnings
    assert said.startswith(f"MLflow at {silent} is slow; the records are complete, and `bench sync")

    shutil.copy(blank, results.folder / "mlflow.db")
    found = bench("sync", "toy.yaml")
    assert found.exit_code == 0
    assert found.stdout == "toy: 3 records, 3 of them logged now\n"
    assert len(logged(tracking.tracking_uri(results))) == 3
    assert api.sync(whole, results).added == 0


def test_an_interrupt_does_not_wait_for_a_server_that_does_not_answer(
    silent: str, commands: Commands, tmp_path: Path
) -> None:
    toy.write(tmp_path, recipe="{epochs: 100000, batch_size: 16}")
    commands.start("run", "toy.yaml", "--inline", MLFLOW_TRACKING_URI=silent)
    state = tmp_path / "results" / "state"
    assert commands.until(lambda: [*state.glob("*.pt")]), "after the teacher, whose record is there"
    os.kill(commands.pid, signal.SIGINT)
    assert commands.end(granted(5.0)) == 130


def test_a_store_that_was_half_made_by_a_killed_process(tmp_path: Path) -> None:
    """It is made beside its place, and takes it once it is whole."""
    whole = toy.plan(tmp_path)
    results = claimed(whole, Results(tmp_path / "results"), *whole.runs)
    torn = results.folder / ".mlflow.db.1.part"
    torn.write_bytes(b"half a store")
    assert api.sync(whole, results).warnings == []
    assert not torn.exists()
    assert len(logged(tracking.tracking_uri(results))) == len(whole.runs)
