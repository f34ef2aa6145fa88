"""The functions that the commands and `bench.tables` call: load a plan, execute it, sync records.

A run trains one network with one seed. Its record is the file with its results. A cohort is a group
of runs that one worker process trains together, with the same teacher and the same seed.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from bench import suite
from bench.errors import BenchError, ConfigError, MissingData, TeacherRefused
from bench.execution.cluster import RayOptions, SlurmOptions
from bench.execution.executors import Executor, ray, slurm
from bench.execution.executors.forking import WorkerServer
from bench.execution.executors.local import HEARTBEAT_TIMEOUT_S, InlineExecutor, ProcessExecutor
from bench.execution.runner import Observer, Overwrite, Runner, pending
from bench.planning import saved
from bench.planning.measures import missing_data, selection_of, with_measures
from bench.planning.plan import Plan, Run, select
from bench.planning.plan import plan as make_plan
from bench.planning.seeds import settled
from bench.planning.tuning import tuned
from bench.results import Record, Results
from bench.results.store import quarantine_corrupt
from bench.results.tuned import outcome, recorded, save
from bench.spec import UNCAPTURED

if TYPE_CHECKING:
    from bench.callbacks.mlflow import MLflow
    from bench.planning.estimate import Estimate

SHUTDOWN_S = 5.0  # seconds after an interrupt, in which a second interrupt is ignored


class Tracker(Observer, Protocol):
    """An observer that copies each record to a store of another tool, such as MLflow.

    Attributes:
        added: Number of records copied to the store so far.
    """

    added: int

    @property
    def warnings(self) -> list[str]:
        """Sentences about records that could not be logged; empty if logging did not fail."""

    def log_missing(self) -> None:
        """Log every record of the plan that is missing or outdated in the store."""


@dataclass(frozen=True)
class Machine:
    """The hardware that trains the runs: GPUs, the CPU, or a cluster.

    Attributes:
        gpus: Indices of the GPUs, from 0; None: all GPUs, or the CPU if no GPU exists; (): the CPU.
        per_gpu: Number of cohorts that train on one GPU at the same time.
        workers: Number of cohorts that train on the CPU at the same time; None: the number of cores
            divided by `threads`.
        threads: CPU threads of each worker process. The number of threads changes rounding, and
            therefore the last digits of results.
        inline: Whether cohorts train in this process, one after the other.
        heartbeat_timeout_s: Seconds without a heartbeat after which a worker is killed.
        graphs: Whether training steps are captured as CUDA graphs.
        keep_teacher: Whether the teachers' outputs are kept in the results folder, so that methods
            that are added later need no teacher (`bench.training.kept`).
        cluster: Options of a cluster; None: train on this machine. With a cluster, `gpus`,
            `per_gpu`, `workers` and `inline` are ignored.
        server: Process that forks workers, so that they share its imports; None: each worker is a
            new process, which imports torch.
    """

    gpus: tuple[int, ...] | None = None
    per_gpu: int = 1
    workers: int | None = None
    threads: int = 1
    inline: bool = False
    heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S
    graphs: bool = False
    keep_teacher: bool = False
    cluster: RayOptions | SlurmOptions | None = None
    server: WorkerServer | None = None

    def devices(self) -> list[str]:
        """Return the device of each slot, such as `cuda:0`. A slot trains one cohort at a time.

        Raises:
            BenchError: A GPU does not exist; or `graphs` is set, and the device is a CPU or
                `keep_teacher` is set, too.
        """
        import torch

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
        if self.graphs and self.keep_teacher:
            raise BenchError(
                "--keep-teacher: not allowed with --cuda-graphs, because recorded steps read the "
                "teacher's features at fixed addresses; remove one option"
            )
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
        if self.inline:
            return InlineExecutor(self.devices()[0])
        server = self.server.connect() if self.server else None  # before a GPU is used
        logs = results.folder / "logs"
        return ProcessExecutor(self.devices(), logs, [lock], self.heartbeat_timeout_s, server)


def load_plan(
    name: str | Path,
    changes: Sequence[str] = (),
    filters: str = "",
    limit: int | None = None,
    data_root: Path | None = None,
    *,
    plugins: bool = True,
    results: Results | None = None,
) -> Plan:
    """Return the plan of a suite: its runs, restricted by `filters` and `limit`.

    Methods that the suite tunes have the settings that their trials chose. While trials have not
    ended, the runs of such a method are undecided: they cannot start. If verdicts decide about the
    seeds, the plan has the seeds that the results so far decide.

    Args:
        name: A suite file, or the name of a suite that this package contains.
        changes: Changes to the suite, each `key=value`, such as `recipe.epochs=2`.
        filters: Selects a part of the suite, such as `pair=vgg13/*,method=kd|crd,seed=0`.
        limit: Largest number of student runs; None: all.
        data_root: Folder of data sets; None: the folder in the variable `BENCH_DATA`.
        plugins: Whether to load plugins, which are Python code. If False, a suite with plugins is
            refused, and installed plugins are ignored.
        results: Results folder with the records that decide about settings and seeds; None: there
            are no records.

    Raises:
        ConfigError: The suite, a change or a filter is invalid.
        BenchError: The suite tunes methods, and Optuna is not installed.
    """
    root = find_data_root(data_root)
    read = partial(outcome, results) if results else lambda run, teacher: (False, None)
    changed = suite.read(suite.find(name), changes, plugins=plugins)
    now = tuned(changed, root, read, recorded(results, changed) if results else {})
    plan = replace(make_plan(now.suite, root), searches=now.searches, trials=now.trials)
    plan = settled(plan, read)
    later = plan.later and select(with_measures(plan.later, root), filters, limit)
    return replace(select(with_measures(plan, root), filters, limit), later=later)


def load_plan_or_saved(
    name: str | Path,
    results: Results,
    changes: Sequence[str] = (),
    filters: str = "",
    limit: int | None = None,
    data_root: Path | None = None,
    *,
    plugins: bool = True,
) -> tuple[Plan, BenchError | None]:
    """Return the plan of a suite; if that fails, return the plan that `bench run` saved.

    Making the plan fails if the data, a plugin, a checkpoint or the suite file is missing. The
    saved plan is also used if a data set is missing whose images are part of run ids, so that the
    new plan has other runs. The saved plan is used only if it was made from the same suite file and
    the same changes.

    Args:
        name: As in `load_plan`; the file may be missing.
        results: Results folder with the saved plan.
        changes: As in `load_plan`.
        filters: As in `load_plan`.
        limit: As in `load_plan`.
        data_root: As in `load_plan`.
        plugins: As in `load_plan`.

    Returns:
        The plan; and the error because of which the saved plan is used, or None for a new plan.

    Raises:
        ConfigError: As in `load_plan`, if no saved plan can be used; the message also says why.
    """
    try:
        part = changes, filters, limit, data_root
        new = load_plan(name, *part, plugins=plugins, results=results)
    except BenchError as error:
        plan, reason = saved.find(results.folder, name, changes)
        if plan is not None:
            return select(plan, filters, limit), error
        if reason:
            raise ConfigError([*str(error).splitlines(), reason]) from error
        raise
    runs = (new.complete or new).runs
    if missing := missing_data(new, runs.values(), find_data_root(data_root)):
        plan, _ = saved.find(results.folder, name, changes)
        if plan is not None and plan.runs.keys() != runs.keys():
            return select(plan, filters, limit), MissingData("\n".join(missing))
    return new, None


def find_data_root(data_root: Path | None) -> Path | None:
    """Return `data_root`; if it is None, the folder in the variable `BENCH_DATA`, or else None."""
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
    """Train the runs of a plan that have no result yet; afterwards every run has a record.

    Undecided runs are left out. First, a killed command's Slurm jobs are cancelled, and damaged
    files are renamed. Ctrl-C and SIGTERM end all workers; the next call resumes each run.

    Args:
        plan: The plan.
        results: Folder of the records.
        machine: The hardware that trains the runs.
        data_root: Folder of data sets; None: the folder in the variable `BENCH_DATA`.
        overwrite: Which runs with a record are repeated; `pending` describes the three values.
        view: How progress is shown: `auto`, `live`, `plain` or `json`; None: no progress is shown.
        tracker: Tool that gets a copy of each record; None: no tool.

    Returns:
        Records of runs that failed, diverged, or were skipped because their teacher failed.

    Raises:
        LockHeld: Another command uses the results folder.
        TeacherRefused: A checkpoint's measured accuracy differs from the suite's `top1`.
        BenchError: A device, the data or the results folder cannot be used.
    """
    root = find_data_root(data_root)
    with stop_on_sigterm(), results.lock() as lock:
        slurm.cancel_orphans(results)
        notices = quarantine_corrupt(plan, results)
        _check_promises(plan, results)
        todo = [run for run in pending(plan, results, overwrite) if run.id not in plan.undecided]
        executor = machine.executor(results, lock) if todo else None
        estimates = _estimates(plan) if todo or overwrite == "never" else {}
        impossible = {run: cost.error for run, cost in estimates.items() if cost.error is not None}
        todo = [run for run in todo if not _skipped(results.summary(run.id), impossible)]
        possible = [run for run in todo if run.id not in impossible]
        _check_data(plan, possible, root)
        _check_graphs(possible, machine)
        _save_plan(plan, results)
        notices += _slow_precision(plan, possible, estimates, machine)
        observers = _observers(plan, todo, estimates, view, tracker, machine.inline)
        _notify(observers, notices)
        if executor is None:
            for observer in observers:
                observer.closed()
        else:
            settings = root, machine.threads, machine.graphs, machine.keep_teacher
            runner = Runner(plan, estimates, results, executor, observers, *settings)
            runner.run(todo, restart=overwrite == "always")
        if tracker:
            tracker.log_missing()
        records = (results.summary(run) for run in plan.runs if run not in impossible)
        return [record for record in records if record and _is_unfinished(record, results)]


def run_trials(load: Callable[[], Plan], run: Callable[[Plan], object], results: Results) -> Plan:
    """Train the trials of a suite, round by round, until they have chosen all settings.

    Args:
        load: Function that returns the plan of the suite, after the trials that have ended so far.
        run: Function that trains the runs of a plan, such as `execute`.
        results: Folder of the records; the choices are written to it.

    Returns:
        The plan with the chosen settings. If trials have failed, it has undecided runs.
    """
    plan = load()
    save(results, plan)
    while plan.trials and not all(each.ended for each in plan.searches):
        before = plan.searches
        run(plan.trials)
        plan = load()
        save(results, plan)
        if plan.searches == before:
            break  # failed runs; the same command repeats them
    return plan


def run_seeds(
    load: Callable[[], Plan], run: Callable[[Plan], list[Record]], results: Results, plan: Plan
) -> tuple[Plan, list[Record]]:
    """Train the runs of a suite's table, and more seeds after each look that leaves verdicts open.

    Args:
        load: Function that returns the plan of the suite, with the seeds that the results decide.
        run: Function that trains the runs of a plan, such as `execute`.
        results: Folder of the records; the plan with the last look is saved to it.
        plan: The first plan.

    Returns:
        The last plan, and the result of `run` for it. If a run of a look failed, or is not in the
        selected part of the suite, the plan has no further seeds.
    """
    unfinished = run(plan)
    while plan.suite.settling is not None:
        before, plan = plan, load()
        if plan.runs.keys() == before.runs.keys():
            _save_plan(plan, results)
            break
        unfinished = run(plan)
    return plan, unfinished


def _observers(
    plan: Plan,
    runs: Sequence[Run],
    estimates: "Mapping[str, Estimate]",
    view: str | None,
    tracker: Tracker | None,
    inline: bool,
) -> list[Observer]:
    observers: list[Observer] = [tracker] if tracker else []
    if view is not None:
        from bench.callbacks import console  # imports rich

        progress = console.Progress(plan, runs, estimates)
        observers.append(console.view(view, progress, sys.stdout, inline=inline))
    return observers


def _estimates(plan: Plan) -> "Mapping[str, Estimate]":
    """Return the plan's estimates; the import of torch is here, as finished suites do without."""
    from bench.planning.estimate import estimate

    return estimate(plan)


def _notify(observers: Iterable[Observer], notices: Sequence[str]) -> None:
    for observer in observers:
        for notice in notices:
            observer.notice(notice)


def sync(plan: Plan, results: Results) -> "MLflow":
    """Log to MLflow all records of a plan that MLflow does not have yet.

    Args:
        plan: The plan.
        results: Folder of the records.

    Returns:
        The tracker. Its `added` is the number of new records; its `warnings` lists the failures.

    Raises:
        LockHeld: Another command uses the results folder.
    """
    from bench.callbacks.mlflow import MLflow

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
        # an interrupt that Ray raises does not contain the signal number
        interrupt.args = interrupt.args or tuple(received[:1])
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _save_plan(plan: Plan, results: Results) -> None:
    """Save the plan for tables; trials have no table."""
    suite = plan.suite
    if not suite.data.held_out:
        path = saved.path_of(results.folder, suite.name, suite.changes)
        results.save_plan(path, saved.dump(plan))


def _check_promises(plan: Plan, results: Results) -> None:
    """Raise TeacherRefused if a checkpoint's recorded accuracy differs from the suite's `top1`.

    The worker compared the accuracies when it evaluated the checkpoint, but `top1` in the suite may
    have changed since then.
    """
    problems = []
    for run in plan.runs.values():
        record = results.summary(run.id) if run.checkpoint else None
        if record and record.status != "done":
            continue  # the worker will evaluate and compare again
        if run.checkpoint and record and (why := run.checkpoint.broken_promise(record.top1)):
            problems.append(why)
    if problems:
        raise TeacherRefused("\n".join(problems))


def _check_graphs(runs: Iterable[Run], machine: Machine) -> None:
    """Raise BenchError if CUDA graphs are on and cannot repeat the steps of a run's optimiser."""
    if not machine.graphs:
        return
    names = {run.specification.recipe.optimizer for run in runs if not run.checkpoint}
    if uncaptured := names & UNCAPTURED:
        name = ", ".join(uncaptured)
        problem = f"--cuda-graphs: optimizer: {name} computes in Python, which no graph can repeat"
        raise BenchError(f"{problem}. Allowed: optimizer: sgd or adamw, or no --cuda-graphs")


def _slow_precision(
    plan: Plan, runs: Sequence[Run], estimates: "Mapping[str, Estimate]", machine: Machine
) -> list[str]:
    """Return a warning if the precision of the runs is slower than float32 on this machine."""
    if machine.cluster or not runs:
        return []
    from bench.precision import slow_precision

    device, threads = machine.devices()[0], machine.threads
    return [f"warning: {text}" for text in slow_precision(plan, runs, estimates, device, threads)]


def _check_data(plan: Plan, runs: Iterable[Run], root: Path | None) -> None:
    """Read each data set once, so that its errors are reported before any training starts."""
    selections = {selection_of(plan, run): None for run in runs}
    if not selections:
        return
    import torch

    from bench import data

    registry = plan.suite.registry
    for selection in selections:
        try:
            data.load(selection, root, torch.device("cpu"), added=registry.datasets)
        except Exception as error:
            if isinstance(error, BenchError) or not registry.source_of("dataset", selection.name):
                raise
            problem = registry.describe_error(error)
            raise BenchError(f"data set '{selection.name}' of a plugin: {problem}") from error


def _is_unfinished(record: Record, results: Results) -> bool:
    """Return whether a run should have a result but has none.

    A run with a trained teacher is skipped only if its loss does not fit the networks. For such a
    run, no result is expected. The same holds for a probe of a network that has no result.
    """
    if id := record.specification.subject:
        subject = results.summary(id)
        if subject is None or subject.status != "done":
            return False
    is_incompatible = record.status == "skipped" and record.teacher is not None
    return record.status != "done" and not is_incompatible


def _skipped(record: Record | None, impossible: Mapping[str, str]) -> bool:
    """Return whether a record already gives the reason in `impossible` for skipping its run."""
    if record is None or record.status != "skipped":
        return False
    return record.reason == impossible.get(record.id)
