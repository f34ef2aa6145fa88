"""Benchmarks from Python: `bench.run`, `bench.records`, and the functions behind the verbs."""

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
from typing import TYPE_CHECKING, Protocol

import torch

from bench import data, suite, tables
from bench.callbacks import console
from bench.callbacks.mlflow import MLflow
from bench.errors import BenchError, TeacherRefused
from bench.execution.cluster import RayOptions, SlurmOptions
from bench.execution.executors import Executor, ray, slurm
from bench.execution.executors.local import HEARTBEAT_TIMEOUT_S, InlineExecutor, ProcessExecutor
from bench.execution.runner import Observer, Overwrite, Runner, pending
from bench.planning import saved
from bench.planning.estimate import estimate
from bench.planning.plan import Plan, select
from bench.planning.plan import plan as make_plan
from bench.results import Record, Results
from bench.results.store import quarantine_corrupt
from bench.suite import Suite

if TYPE_CHECKING:
    import pandas as pd

SHUTDOWN_S = 5.0  # after an interrupt, during which a second one changes nothing


class Tracker(Observer, Protocol):
    """An observer that keeps a copy of each record in a store of its own.

    Attributes:
        added: Number of records that the store did not have.
    """

    added: int

    @property
    def warnings(self) -> list[str]:
        """Sentences about records that could not be logged; empty if all were."""

    def log_missing(self) -> None:
        """Log every record of the plan that the store does not have, or has in an older state."""


@dataclass(frozen=True)
class Machine:
    """Where runs train: on GPUs by number, on the CPU, or on a cluster.

    Attributes:
        gpus: Numbers of GPUs; None: all GPUs, or the CPU if there are none; (): the CPU.
        per_gpu: Cohorts that share a GPU.
        workers: Cohorts that train at a time on a CPU; None: one for each core.
        threads: Threads of each worker on a CPU; results depend on them within rounding.
        inline: Whether cohorts train in this process, one after the other.
        heartbeat_timeout_s: Seconds without a heartbeat after which a worker is killed.
        graphs: Whether steps are recorded as CUDA graphs.
        cluster: A cluster, for which only `threads` and `graphs` count; None: this machine.
    """

    gpus: tuple[int, ...] | None = None
    per_gpu: int = 1
    workers: int | None = None
    threads: int = 1
    inline: bool = False
    heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S
    graphs: bool = False
    cluster: RayOptions | SlurmOptions | None = None

    def devices(self) -> list[str]:
        """Return the device of each slot, such as `cuda:0`; a slot trains a cohort at a time.

        Raises:
            BenchError: A GPU does not exist, or `graphs` is set and the device is a CPU.
        """
        present = range(torch.cuda.device_count())
        gpus = present if self.gpus is None else self.gpus
        if self.cluster is not None:
            devices = ["cuda" if self.cluster.gpus else "cpu"] * (self.cluster.slots or 1)
        elif missing := [gpu for gpu in gpus if gpu not in present]:
            allowed = ", ".join(map(str, present)) or "none, for the CPU: this machine has no GPU"
            raise BenchError(f"--gpus: no GPU {missing[0]}. Allowed: {allowed}")
        elif gpus:
            devices = [f"cuda:{gpu}" for gpu in gpus for _ in range(self.per_gpu)]
        else:
            affinity = hasattr(os, "sched_getaffinity")
            cores = len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1
            devices = ["cpu"] * (self.workers or max(1, cores // self.threads))
        if self.graphs and devices[0] == "cpu":
            raise BenchError("--cuda-graphs needs a GPU; these runs would use the CPU")
        return devices

    def executor(self, results: Results, lock: int) -> Executor:
        """Return the executor of this machine.

        Args:
            results: Folder that the runs write to.
            lock: Descriptor of the folder's lock, which workers inherit.
        """
        match self.cluster:
            case RayOptions():
                return ray.RayExecutor(self.cluster, results, self.heartbeat_timeout_s)
            case SlurmOptions():
                return slurm.SlurmExecutor(self.cluster, results, self.heartbeat_timeout_s)
        devices = self.devices()
        if self.inline:
            return InlineExecutor(devices[0])
        return ProcessExecutor(devices, results.folder / "logs", [lock], self.heartbeat_timeout_s)


def run(
    name: str | Path,
    *,
    results: str | Path = "results",
    changes: Sequence[str] = (),
    filters: str = "",
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    data_root: Path | None = None,
) -> "pd.DataFrame":
    """Run a suite and return the records of its runs.

    Runs that have a record are not repeated. For example
    `bench.run("quickstart", changes=["recipe.epochs=2"], filters="method=kd|crd")`.

    Args:
        name: A suite file, or the name of a shipped suite.
        results: Results folder.
        changes: Changes to the suite, each `key=value`.
        filters: Selects cells of the suite: `pair=vgg13/*,method=kd|crd,seed=0`.
        machine: Where the runs train.
        data_root: Folder of data sets; None: the environment variable `BENCH_DATA`.

    Returns:
        One row for each run of the suite, as `bench.records` returns it.

    Raises:
        BenchError: The suite, the data or the results folder cannot be used.
    """
    plan, store = load_plan(name, changes, filters, data_root=data_root), Results(Path(results))
    execute(plan, store, machine, data_root=data_root)
    frame = tables.records(results)
    return frame[frame["id"].isin(list(plan.runs))].reset_index(drop=True)


def load_plan(
    name: str | Path,
    changes: Sequence[str] = (),
    filters: str = "",
    limit: int | None = None,
    data_root: Path | None = None,
    *,
    plugins: bool = True,
) -> Plan:
    """Return the plan of a suite, or the part of it that the filters select.

    Args:
        name: A suite file, or the name of a shipped suite.
        changes: Changes to the suite, each `key=value`: `recipe.epochs=2`.
        filters: Selects cells of the suite: `pair=vgg13/*,method=kd|crd,seed=0`.
        limit: Largest number of student runs; None: all.
        data_root: Folder of data sets; None: the environment variable `BENCH_DATA`.
        plugins: False: refuse Python files that the suite names.

    Raises:
        ConfigError: The suite, a change or a filter is wrong.
    """
    changed = suite.read(suite.find(name), changes, plugins=plugins)
    return select(make_plan(changed, find_data_root(data_root)), filters, limit)


def load_saved_plan(
    name: str | Path,
    results: Results,
    changes: Sequence[str] = (),
    filters: str = "",
    limit: int | None = None,
) -> Plan | None:
    """Return the plan that `bench run` saved; None if there is none, or the suite has changed.

    Args:
        name: A suite file, which may be missing, or the name of a shipped suite.
        results: Folder of the records.
        changes: Changes to the suite; they must be those of the saved plan.
        filters: Selects cells, as in `load_plan`.
        limit: Largest number of student runs; None: all.
    """
    stem = Path(name).stem
    for path in (saved.path_of(results.folder, part) for part in (stem, f"{stem}-part")):
        if path.is_file():
            plan, sha256 = saved.load(path)
            file = Path(name)
            is_same = not file.is_file() or saved.digest(file) == sha256
            if is_same and tuple(changes) == plan.suite.changes:
                return select(plan, filters, limit)
    return None


def find_data_root(data_root: Path | None) -> Path | None:
    """Return the folder of data sets: as given, else `BENCH_DATA`, else None."""
    variable = os.environ.get("BENCH_DATA")
    return data_root or (Path(variable) if variable else None)


def execute(
    plan: Plan,
    results: Results,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    *,
    data_root: Path | None = None,
    overwrite: Overwrite = "failed",
    view: str | None = None,
    tracker: Tracker | None = None,
) -> list[Record]:
    """Do the runs of a plan that have no record yet; afterwards every run has one.

    First the results folder is locked, Slurm jobs of a killed command are cancelled, damaged files
    are quarantined, and the data set is read. An interrupt, also SIGTERM, ends all workers; the
    next call resumes each run from its last completed epoch.

    Args:
        plan: The plan.
        results: Folder of the records.
        machine: Where the runs train.
        data_root: Folder of data sets; None: `BENCH_DATA`.
        overwrite: Which records are replaced: `never`, `failed` (and skipped ones), `always`.
        view: How progress is shown: `auto`, `live`, `plain` or `json`; None: not at all.
        tracker: Where records are logged, too.

    Returns:
        The records of runs without a result, except impossible runs.

    Raises:
        LockHeld: Another command uses the results folder.
        TeacherRefused: A checkpoint's recorded accuracy is not as promised.
        BenchError: A device, the data or the results folder cannot be used.
    """
    root = find_data_root(data_root)
    with stop_on_sigterm(), results.lock() as lock:
        slurm.cancel_orphans(results)
        executor = machine.executor(results, lock)
        results.save_plan(saved.path_of(results.folder, plan.stem), saved.dump(plan))
        notices = quarantine_corrupt(plan, results)
        _check_promises(plan, results)
        todo = pending(plan, results, overwrite)
        estimates = estimate(plan, root) if todo or overwrite == "never" else {}
        impossible = {run: cost.error for run, cost in estimates.items() if cost.error is not None}
        todo = [run for run in todo if not _skipped(results.summary(run.id), impossible)]
        if any(run.id not in impossible for run in todo):
            _check_data(plan.suite, root)
        observers: list[Observer] = [tracker] if tracker else []
        if view:
            progress = console.Progress(plan, todo, estimates)
            observers.append(console.view(view, progress, sys.stdout))
        for observer in observers:
            for notice in notices:
                observer.notice(notice)
        runner = Runner(
            plan, estimates, results, executor, observers, root, machine.threads, machine.graphs
        )
        runner.run(todo, restart=overwrite == "always")
        if tracker:
            tracker.log_missing()
        records = [results.summary(run) for run in plan.runs if run not in impossible]
        return [record for record in records if record is not None and _is_unfinished(record)]


def sync(plan: Plan, results: Results) -> MLflow:
    """Log every record of a plan that MLflow does not have.

    Args:
        plan: The plan.
        results: Folder of the records.

    Returns:
        The tracker: its `added` counts new records, its `warnings` name failures.

    Raises:
        LockHeld: Another command uses the results folder.
    """
    tracker = MLflow(plan, results)
    with stop_on_sigterm(), results.lock():
        tracker.log_missing()
    return tracker


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Within the context, SIGTERM raises KeyboardInterrupt with its number, as Ctrl-C does.

    A second signal within `SHUTDOWN_S` is ignored: it must not interrupt the end of the workers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    received: list[int] = []
    last_raised = float("-inf")

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last_raised
        received.append(number)
        if (now := time.monotonic()) - last_raised >= SHUTDOWN_S:
            last_raised = now
            raise KeyboardInterrupt(number)

    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    numbers = (signal.SIGTERM, signal.SIGINT) if interruptible else (signal.SIGTERM,)
    handlers = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.args = interrupt.args or tuple(received[:1])  # Ray raises one without a number
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _check_promises(plan: Plan, results: Results) -> None:
    """Compare recorded accuracies of checkpoints with the suite, which may have changed since."""
    problems = []
    for run in plan.runs.values():
        record = results.summary(run.id) if run.checkpoint else None
        if record and record.status != "done":
            continue  # it is evaluated again
        if run.checkpoint and record and (why := run.checkpoint.broken_promise(record.top1)):
            problems.append(why)
    if problems:
        raise TeacherRefused("\n".join(problems))


def _check_data(suite: Suite, root: Path | None) -> None:
    """Read the data set once, so that its errors are reported before anything starts."""
    name, registry = suite.data.name, suite.registry
    try:
        data.load(suite.data, root, torch.device("cpu"), added=registry.datasets)
    except Exception as error:
        if isinstance(error, BenchError) or not registry.source_of("dataset", name):
            raise
        problem = f"{type(error).__name__}: {error}"
        raise BenchError(f"data set '{name}' of a plugin: {problem}") from error


def _is_unfinished(record: Record) -> bool:
    """Whether a run should have a result; a distiller that does not fit is not a failure."""
    is_incompatible = record.status == "skipped" and record.teacher is not None
    return record.status != "done" and not is_incompatible


def _skipped(record: Record | None, impossible: Mapping[str, str]) -> bool:
    """Whether a run is impossible, and its record gives the same reason."""
    if record is None or record.status != "skipped":
        return False
    return record.reason == impossible.get(record.id)
