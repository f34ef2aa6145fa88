"""MLflow missing, silent, or opened by many processes: no run is lost, and `sync` logs the rest."""

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
from tests.faults.commands import Commands, scaled

INLINE = Machine(gpus=(), inline=True)
PROCESSES = 16
MANY = """
import os, sys
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store  # once for all processes
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


def with_records(plan: Plan, results: Results, *runs: str) -> Results:
    """Write records of finished runs, which were not trained."""
    for run in runs:
        task = Task(run, plan.names()[run], plan.runs[run].specification)
        metrics = {"last": {"top1": 50.0, "nll": 1.5}}
        results.write(task.record("done", None, metrics=metrics, finished=now()))
    return results


def logged(uri: str) -> list[str]:
    """Return the names of all runs in a store."""
    client = tracking.client(uri)
    experiment = client.get_experiment_by_name("toy")
    return sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id]))


@pytest.mark.slow
def test_new_store_is_opened_by_sixteen_processes_at_once(tmp_path: Path) -> None:
    """Each process logs one record, of another results folder."""
    plan = toy.plan(tmp_path, seeds=str(list(range(PROCESSES))), methods="[kd]")
    students = [run for run in plan.runs if plan.runs[run].kind == "student"]
    folders = [tmp_path / str(number) for number in range(PROCESSES)]
    for run, folder in zip(students, folders, strict=True):
        with_records(plan, Results(folder), run)
    uri = f"sqlite:///{tmp_path}/store.db"
    command = [sys.executable, "-c", MANY, tmp_path / "toy.yaml", uri, *folders]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [*map(str, command)], cwd=tmp_path, env=env, text=True, capture_output=True
    )
    assert process.stdout.strip() == str([1] * PROCESSES), process.stdout + process.stderr
    assert logged(uri) == sorted(f"resnet8/resnet8 kd seed {seed}" for seed in range(PROCESSES))


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_silent_server_costs_a_timeout_and_a_warning(
    silent: str, here: Path, monkeypatch: pytest.MonkeyPatch, blank: Path
) -> None:
    plan, results = toy.plan(here), Results(here / "results")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MLflow(plan, results, silent)
    assert api.execute(plan, results, INLINE, tracker=tracker) == []
    assert [record.status for record in results.records()] == ["done"] * 3
    (warning,) = tracker.warnings
    assert warning.startswith(f"MLflow at {silent} failed: ")
    assert "the records are complete, and `bench sync " in warning

    shutil.copy(blank, results.folder / "mlflow.db")
    result = bench("sync", "toy.yaml")
    assert result.exit_code == 0
    assert result.stdout == "toy: 3 records, 3 of them logged now\n"
    assert len(logged(tracking.tracking_uri(results))) == 3
    assert api.sync(plan, results).added == 0


def test_server_that_is_down_is_not_called_for_every_record(
    silent: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = toy.plan(here, seeds="[0, 1, 2, 3]")
    results = with_records(plan, Results(here / "results"), *plan.runs)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = MLflow(plan, results, silent)
    tracker.log_missing()  # imports mlflow
    begun = time.monotonic()
    for record in results.records():
        tracker.record(record)
    assert time.monotonic() - begun < 1.0


@pytest.mark.slow
def test_interrupt_does_not_wait_for_a_silent_server(
    silent: str, commands: Commands, tmp_path: Path
) -> None:
    toy.write(tmp_path, recipe="{epochs: 100000, batch_size: 16}")
    commands.start("run", "toy.yaml", "--inline", MLFLOW_TRACKING_URI=silent)
    state = tmp_path / "results" / "state"
    assert commands.wait_for(lambda: [*state.glob("*.safetensors")])
    os.kill(commands.pid, signal.SIGINT)
    assert commands.end(scaled(5.0)) == 130


def test_store_that_a_killed_process_left_incomplete_is_created_again(tmp_path: Path) -> None:
    """A store is created under a temporary name, and renamed when it is complete."""
    plan = toy.plan(tmp_path)
    results = with_records(plan, Results(tmp_path / "results"), *plan.runs)
    part = results.folder / ".mlflow.db.1.part"
    part.write_bytes(b"half a store")
    assert api.sync(plan, results).warnings == []
    assert not part.exists()
    assert len(logged(tracking.tracking_uri(results))) == len(plan.runs)
