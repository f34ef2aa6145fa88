"""The Python interface: `bench.run`, `bench.records`, and the functions that the commands call.

A run trains one network with one seed. Its record is the file with its results. A cohort is a group
of runs that one worker process trains together, with the same teacher and the same seed.
"""

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from bench import data, suite
from bench.callbacks import console
from bench.callbacks.mlflow import MLflow
from bench.errors import BenchError
from bench.execution.cluster import RayOptions, SlurmOptions
from bench.execution.executors import Executor, ray, slurm
from bench.execution.executors.local import HEARTBEAT_TIMEOUT_S, InlineExecutor, ProcessExecutor
from bench.execution.runner import Observer, Overwrite, Runner, pending
from bench.planning.estimate import Estimate, estimate
from bench.planning.plan import Plan, cohorts, select
from bench.planning.plan import plan as make_plan
from bench.results import Record, Results
from bench.results.environment import device_name
from bench.results.store import quarantine_corrupt
from bench.suite import Suite

if TYPE_CHECKING:
    import pandas as pd

SHUTDOWN_S = 5.0  # time after an interrupt in which another one is ignored


@dataclass(frozen=True)
class Machine:
    """The hardware that trains the runs: GPUs, the CPU, or a cluster.

    Attributes:
        gpus: Numbers of the GPUs; None: all GPUs, or the CPU if there is no GPU; (): the CPU.
        per_gpu: Number of cohorts that train on one GPU at the same time.
        workers: Number of cohorts that train on the CPU at the same time; None: the number of cores
            divided by `threads`.
        threads: CPU threads of each worker. Results for different numbers differ by rounding.
        inline: Whether cohorts train in this process, one after the other.
        heartbeat_timeout_s: Seconds without a heartbeat after which a worker is killed.
        graphs: Whether training steps are captured as CUDA graphs.
        cluster: Options of a cluster, where `gpus`, `per_gpu`, `workers` and `inline` are ignored;
            None: this machine.
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
        """Return the device of each slot, such as `cuda:0`. A slot trains one cohort at a time.

        Raises:
            BenchError: A GPU does not exist, or `graphs` is set and the device is a CPU.
        """
        present = range(torch.cuda.device_count())
        gpus = present if self.gpus is None else self.gpus
        if self.cluster is not None:
            devices = ["cuda" if self.cluster.gpus else "cpu"] * (self.cluster.slots or 1)
        elif missing := [gpu for gpu in gpus if gpu not in present]:
            allowed = ", ".join(map(str, present)) or "none (the CPU): this machine has no GPU"
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
        """Return the executor, which starts and stops the workers on this hardware.

        Args:
            results: Results folder that the runs write to.
            lock: File descriptor of the folder's lock, which worker processes inherit.
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

    Runs that already have a result are not repeated. For example
    `bench.run("quickstart", changes=["recipe.epochs=2"], filters="method=kd|crd")`.

    Args:
        name: A suite file, or the name of a shipped suite.
        results: Results folder.
        changes: Changes to the suite, each `key=value`.
        filters: Selects a part of the suite, e.g. `pair=vgg13/*,method=kd|crd,seed=0`.
        machine: The hardware that trains the runs.
        data_root: Folder of data sets; None: the folder in the variable `BENCH_DATA`.

    Returns:
        One row for each run of the suite, as `records` returns it.

    Raises:
        BenchError: The suite, the data or the results folder cannot be used.
    """
    plan, store = load_plan(name, changes, filters, data_root=data_root), Results(Path(results))
    execute(plan, store, machine, data_root=data_root)
    frame = records(results)
    return frame[frame["id"].isin(list(plan.runs))].reset_index(drop=True)


def records(results: str | Path = "results") -> "pd.DataFrame":
    """Return all records of a results folder as a data frame.

    Args:
        results: Results folder.

    Returns:
        One row for each run; nested fields are columns such as `metrics.last.top1` (percent). The
        column `curves` holds a list with one entry per epoch. A folder without records gives an
        empty frame.

    Raises:
        BenchError: A record is damaged.
    """
    import pandas as pd

    return pd.json_normalize([record.content for record in Results(Path(results)).records()])


def load_plan(
    name: str | Path,
    changes: Sequence[str] = (),
    filters: str = "",
    limit: int | None = None,
    data_root: Path | None = None,
    *,
    plugins: bool = True,
) -> Plan:
    """Return the plan of a suite: its runs, restricted by `filters` and `limit`.

    Args:
        name: A suite file, or the name of a shipped suite.
        changes: Changes to the suite, each `key=value`: `recipe.epochs=2`.
        filters: Selects a part of the suite, e.g. `pair=vgg13/*,method=kd|crd,seed=0`.
        limit: Largest number of student runs; None: all.
        data_root: Folder of data sets; None: the folder in the variable `BENCH_DATA`.
        plugins: False: refuse the suite's plugins (Python files), and ignore installed ones.

    Raises:
        ConfigError: The suite, a change or a filter is invalid.
    """
    changed = suite.read(suite.find(name), changes, plugins=plugins)
    return select(make_plan(changed, find_data_root(data_root)), filters, limit)


def find_data_root(data_root: Path | None) -> Path | None:
    """Return `data_root` if given, else the folder in the variable `BENCH_DATA`, else None."""
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
    tracker: MLflow | None = None,
) -> list[Record]:
    """Train the runs of a plan that have no result yet; afterwards every run has a record.

    First, this function locks the results folder, cancels Slurm jobs of a killed command, moves
    damaged files to quarantine, and reads or downloads data. Ctrl-C or SIGTERM ends all workers at
    once. The next call resumes each run from its last completed epoch.

    Args:
        plan: The plan.
        results: Folder of the records.
        machine: The hardware that trains the runs.
        data_root: Folder of data sets; None: the folder in the variable `BENCH_DATA`.
        overwrite: Which records are replaced. `never`: none; `failed`: those of failed and skipped
            runs; `always`: all.
        view: How progress is shown: `auto`, `live`, `plain` or `json`; None: not at all.
        tracker: The MLflow tracker that logs the records; None: no tracker.

    Returns:
        The records of runs without a result, except impossible runs (a loss does not fit).

    Raises:
        LockHeld: Another command uses the results folder.
        MissingData: The data set cannot be found or downloaded.
        BenchError: A device, the data or the results folder cannot be used.
    """
    root = find_data_root(data_root)
    with stop_on_sigterm(), results.lock() as lock:
        slurm.cancel_orphans(results)
        executor = machine.executor(results, lock)
        notices = quarantine_corrupt(plan, results)
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
        records = (results.summary(run) for run in plan.runs if run not in impossible)
        return [record for record in records if record is not None and record.status != "done"]


def describe_status(plan: Plan, results: Results) -> dict[str, Any]:
    """Return how many runs of a plan have a result, as plain data that JSON can hold.

    Args:
        plan: The plan.
        results: Results folder, of which only the records are read.

    Returns:
        The number of runs by state, in total and by pair and method; the runs without a result.
    """
    runs = _run_states(plan, results, {})
    return {
        "suite": plan.suite.name,
        "counts": Counter(run["state"] for run in runs),
        "pairs": _pair_states(plan, runs),
        "without_result": [run for run in runs if run["state"] != "done"],
    }


def describe_plan(
    plan: Plan,
    results: Results,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    data_root: Path | None = None,
) -> dict[str, Any]:
    """Return the runs of a plan with their states and costs, as plain data that JSON can hold.

    Args:
        plan: The plan.
        results: Folder of the records.
        machine: The hardware that would train the runs.
        data_root: Folder of data sets; None: the folder in the variable `BENCH_DATA`.

    Returns:
        Each run with its state; the number of runs by pair and method; the devices; the costs of
        the networks; the memory of the methods.

    Raises:
        BenchError: A device or the data cannot be used.
    """
    slots = Counter(machine.devices())
    estimates = estimate(plan, find_data_root(data_root))
    runs = _run_states(plan, results, estimates)
    possible = [run for run in pending(plan, results, "failed") if estimates[run.id].error is None]
    place = "a cluster" if machine.cluster else None
    return {
        "suite": plan.suite.name,
        "runs": runs,
        "pairs": _pair_states(plan, runs),
        "cohorts": len(cohorts(possible)),
        "devices": [
            {"device": name, "name": place or device_name(torch.device(name)), "at_a_time": number}
            for name, number in slots.items()
        ],
        "networks": _costs(plan, estimates),
        "memory": _memory(plan, estimates),
    }


def sync(plan: Plan, results: Results) -> MLflow:
    """Log to MLflow all records of a plan that MLflow does not have yet.

    Args:
        plan: The plan.
        results: Folder of the records.

    Returns:
        The tracker. `added` is the number of new records, `warnings` lists the failures.

    Raises:
        LockHeld: Another command uses the results folder.
    """
    tracker = MLflow(plan, results)
    with stop_on_sigterm(), results.lock():
        tracker.log_missing()
    return tracker


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt(signal number) inside the block, as Ctrl-C does.

    A second signal within `SHUTDOWN_S` is ignored, because it would interrupt the shutdown of the
    workers.
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
        interrupt.args = interrupt.args or tuple(received[:1])  # Ray omits the number
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _check_data(suite: Suite, root: Path | None) -> None:
    """Read the data set once, so that its errors are reported before any training starts."""
    name, registry = suite.data.name, suite.registry
    try:
        data.load(suite.data, root, torch.device("cpu"), added=registry.datasets)
    except Exception as error:
        if isinstance(error, BenchError) or not registry.source_of("dataset", name):
            raise
        problem = f"{type(error).__name__}: {error}"
        raise BenchError(f"data set '{name}' of a plugin: {problem}") from error


def _skipped(record: Record | None, impossible: Mapping[str, str]) -> bool:
    """Return whether a run's record already says that it is impossible, for the same reason."""
    if record is None or record.status != "skipped":
        return False
    return record.reason == impossible.get(record.id)


def _run_states(
    plan: Plan, results: Results, estimates: Mapping[str, Estimate]
) -> list[dict[str, str | None]]:
    """Return `id`, `name`, `kind`, `state` and `reason` of each run.

    `state` is the status of the run's record, `skipped` for an impossible run, or `to do`.
    """
    rows = []
    for id, run in plan.runs.items():
        record, estimate = results.summary(id), estimates.get(id)
        state, reason = (record.status, record.reason) if record else ("to do", None)
        if estimate and (record is None or record.status == "skipped"):
            state = "skipped" if estimate.error else "to do"
            reason = estimate.error or estimate.warning
        names = {"id": id, "name": plan.names()[id], "kind": run.kind}
        rows.append({**names, "state": state, "reason": reason})
    return rows


def _pair_states(plan: Plan, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each pair the number of its teachers and of each method's runs, by state."""
    states = {run["id"]: run["state"] for run in runs}
    teachers: dict[str, dict[str, str]] = {}
    methods: dict[str, dict[str, Counter[str]]] = {}
    for cell in plan.cells:
        teachers.setdefault(cell.pair.name, {})[cell.teacher] = states[cell.teacher]
        counts = methods.setdefault(cell.pair.name, {})
        counts.setdefault(cell.method.name, Counter())[states[cell.run]] += 1
    return [
        {"pair": pair, "teachers": Counter(teachers[pair].values()), "methods": counts}
        for pair, counts in methods.items()
    ]


def _costs(plan: Plan, estimates: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    """Return the parameters and multiply-adds of every network of the plan."""
    runs = plan.runs.values()
    costs = {run.specification.network: cost for run in runs if (cost := estimates[run.id].network)}
    return [{"network": name, **asdict(cost)} for name, cost in costs.items()]


def _memory(plan: Plan, estimates: Mapping[str, Estimate]) -> list[dict[str, Any]]:
    """Return the size of each method's buffers in bytes: the maximum over all pairs."""
    largest: Counter[str] = Counter()
    for cell in plan.cells:
        largest[cell.method.name] = max(largest[cell.method.name], estimates[cell.run].memory)
    return [{"method": name, "bytes": size} for name, size in largest.items() if size]
