"""The verbs as functions: what the command line does, callable from Python."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import torch

from bench import data, suite
from bench.callbacks import console
from bench.callbacks.mlflow import MLflow
from bench.callbacks.progress import Progress
from bench.errors import BenchError
from bench.execution.cluster import RayOptions, SlurmOptions
from bench.execution.executors import Executor, ray, slurm
from bench.execution.executors.local import HEARTBEAT_TIMEOUT_S, InlineExecutor, ProcessExecutor
from bench.execution.runner import Observer, Overwrite, Runner, pending
from bench.planning import estimate
from bench.planning.estimate import Estimate
from bench.planning.plan import Plan, plan, select
from bench.results import Record, Results
from bench.results.repair import quarantine_corrupt
from bench.suite import Suite

if TYPE_CHECKING:
    import pandas as pd

ENDING = 5.0  # seconds after an interrupt in which another one adds nothing
LOGGING = 60.0  # seconds after the last run in which MLflow may catch up


@dataclass(frozen=True)
class Machine:
    """Where runs go: GPUs by number, or the CPU where none are named and none are found.

    With a `cluster`, there: then of the rest only threads, graphs and patience count.
    """

    gpus: tuple[int, ...] | None = None  # None: all that are there
    per_gpu: int = 1  # cohorts at a time on each GPU
    workers: int | None = None  # cohorts at a time on a CPU; None: one a core
    threads: int = 1  # of each worker on a CPU: part of what rounding depends on
    inline: bool = False  # in this process instead of one for each cohort
    patience: float = (
        HEARTBEAT_TIMEOUT_S  # seconds without a batch after which a worker counts as hanging
    )
    graphs: bool = False  # record steps as CUDA graphs
    cluster: RayOptions | SlurmOptions | None = None  # None: this machine

    def devices(self) -> list[str]:
        """The device of each slot, or its devices; BenchError for what cannot be had.

        Of a cluster, which is not asked, as many as its options say, or one.
        """
        found = self._devices()
        if self.graphs and found[0].startswith("cpu"):
            raise BenchError("--cuda-graphs: no run gets a GPU; a CPU does without")
        return found

    def _devices(self) -> list[str]:
        if self.cluster is not None:
            return ["cuda" if self.cluster.gpus else "cpu"] * (self.cluster.slots or 1)
        found = range(torch.cuda.device_count())
        gpus = found if self.gpus is None else self.gpus
        if absent := [gpu for gpu in gpus if gpu not in found]:
            allowed = ", ".join(map(str, found)) or "none, for the CPU: this machine has no GPU"
            raise BenchError(f"--gpus: no GPU {absent[0]}. Allowed: {allowed}")
        if gpus:
            return [f"cuda:{gpu}" for gpu in gpus for _ in range(self.per_gpu)]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return ["cpu"] * (self.workers or max(1, (cores or 1) // self.threads))

    def executor(self, results: Results, lock: int) -> Executor:
        """The executor that works on these devices, for whoever holds the results' lock."""
        match self.cluster:
            case RayOptions():
                return ray.RayExecutor(self.cluster, results, self.patience)
            case SlurmOptions():
                return slurm.SlurmExecutor(self.cluster, results, self.patience)
        devices = self.devices()
        if self.inline:
            return InlineExecutor(devices[0])
        return ProcessExecutor(devices, results.folder / "logs", [lock], self.patience)


def make_plan(
    name: str | Path,
    changes: Sequence[str] = (),
    filters: str = "",
    limit: int | None = None,
    data_root: Path | None = None,
    *,
    plugins: bool = True,
) -> Plan:
    """The plan of a suite, a file or the name of a shipped one, or the part that filters leave.

    `changes` are `recipe.epochs=2` and the like, laid over the suite; `plugins=False`
    refuses a user's own code. Raises `ConfigError`.
    """
    asked = suite.read(suite.find(name), changes, plugins=plugins)
    return select(plan(asked, root_of(data_root)), filters, limit)


def root_of(data_root: Path | None) -> Path | None:
    """Where data sets lie: as given, or as BENCH_DATA says, or unsaid."""
    named = os.environ.get("BENCH_DATA")
    return data_root or (Path(named) if named else None)


def execute(
    whole: Plan,
    results: Results,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    *,
    data_root: Path | None = None,
    overwrite: Overwrite = "failed",
    view: str | None = None,
    tracker: MLflow | None = None,
) -> list[Record]:
    """Do what is missing of a plan; then every run of it has a record. Returns those in trouble.

    Before anything starts, the results folder is locked, jobs of Slurm that a killed command left
    at work there are cancelled, and corrupt files are quarantined; if there is something to
    train, the data set is looked for, or downloaded: `MissingData` if in vain. `LockHeld` where
    another command has the folder. An interrupt, SIGTERM as well, kills all workers; runs resume
    from their last completed epoch another time.
    `view` is auto, live, plain, json, or None for silence.
    """
    root = root_of(data_root)
    with _terminable(), results.lock() as lock:
        slurm.cancel_orphans(results)
        executor = machine.executor(results, lock)
        damage = quarantine_corrupt(whole, results)
        todo = pending(whole, results, overwrite)
        estimates = estimate.estimate(whole, root) if todo or overwrite == "never" else {}
        todo = [run for run in todo if not _known(results.summary(run.id), estimates[run.id])]
        if any(estimates[run.id].error is None for run in todo):
            _look_for(whole.suite, root)
        observers: list[Observer] = [tracker] if tracker else []
        if view:
            progress = Progress(whole, todo, estimates, len(executor.devices))
            observers.append(console.view(view, progress, sys.stdout))
        for observer in observers:
            for text in damage:
                observer.notice(text)
        runner = Runner(
            whole, estimates, results, executor, observers, root, machine.threads, machine.graphs
        )
        runner.run(todo, restart=overwrite == "always")
        if tracker:
            tracker.log_missing(LOGGING)
        return unfinished(whole, results, estimates)


def sync(whole: Plan, results: Results) -> MLflow:
    """Log every record of a plan that MLflow lacks; its `warnings` say what could not be logged."""
    tracker = MLflow(whole, results)
    with _terminable(), results.lock():
        tracker.log_missing()
    return tracker


@contextmanager
def _terminable() -> Iterator[None]:
    """Inside, SIGTERM is a KeyboardInterrupt that bears its number, as Ctrl-C is.

    One that follows at once does not break off the ending of workers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    heard: list[int] = []
    heeded = float("-inf")

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal heeded
        heard.append(number)
        if (now := time.monotonic()) - heeded >= ENDING:
            heeded = now
            raise KeyboardInterrupt(number)

    interrupt = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    numbers = (signal.SIGTERM, signal.SIGINT) if interrupt else (signal.SIGTERM,)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.args = stopped.args or tuple(heard[:1])  # Ray raises one of its own in its place
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _look_for(suite: Suite, root: Path | None) -> None:
    """Read the data set once, so that what is wrong with it is told before anything starts."""
    selection, registry = suite.data, suite.registry
    try:
        data.load(selection, root, torch.device("cpu"), added=registry.datasets)
    except Exception as error:
        if isinstance(error, BenchError) or not registry.source_of("dataset", selection.name):
            raise
        said = f"{type(error).__name__}: {error}"
        raise BenchError(f"data set '{selection.name}' of a plugin: {said}") from error


def _known(record: Record | None, estimate: Estimate) -> bool:
    """Whether a run is impossible, and its record says so already."""
    if record is None or record.status != "skipped":
        return False
    return record.reason == estimate.error


def unfinished(whole: Plan, results: Results, estimates: Mapping[str, Estimate]) -> list[Record]:
    """The records of runs that have no result although nothing stood in their way."""
    possible = (run for run in whole.runs if run not in estimates or estimates[run].error is None)
    found = [record for run in possible if (record := results.summary(run)) is not None]
    return [record for record in found if record.status != "done"]


def run(
    name: str | Path,
    *,
    results: str | Path = "results",
    changes: Sequence[str] = (),
    filters: str = "",
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    data_root: Path | None = None,
) -> "pd.DataFrame":
    """Bring a suite to its end and return the records of its runs, one row each; for notebooks.

    `bench.run("quickstart", changes=["recipe.epochs=2"], filters="method=kd|crd")`.
    """
    whole, folder = make_plan(name, changes, filters, None, data_root), Results(Path(results))
    execute(whole, folder, machine, data_root=data_root)
    found = records(results)
    return found[found["id"].isin(list(whole.runs))].reset_index(drop=True)


def records(results: str | Path = "results") -> "pd.DataFrame":
    """All records of a results folder as a frame: one row a run, nested fields as `a.b` columns.

    The curves, one list of epochs a run, stay as they are in the column `curves`.
    """
    import pandas as pd

    return pd.json_normalize([dict(record) for record in Results(Path(results)).records()])
