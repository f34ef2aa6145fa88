"""The runner of a plan: it schedules cohorts, writes records, and handles crashes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.data import Facts
from bench.execution.executors import Executor
from bench.execution.protocol import Event, Job, Task
from bench.execution.queue import Queue, halves, work_of
from bench.planning.cohorts import Cohort, cohorts
from bench.planning.plan import Plan, Run
from bench.results import Record, Results, Unwritable
from bench.results.environment import now
from bench.results.record import Status, TeacherInfo

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate

Overwrite = Literal["never", "failed", "always"]
MAX_ATTEMPTS = 2  # a run fails if its worker crashes or hangs this number of times
FINISHED: Mapping[Overwrite, frozenset[Status]] = {  # runs with these statuses are not repeated
    "never": frozenset({"done", "diverged", "failed", "skipped"}),
    "failed": frozenset({"done", "diverged"}),
    "always": frozenset(),
}


class Observer(Protocol):
    """Receiver of a runner's progress, such as the console view or MLflow."""

    def started(self, cohort: Cohort, device: str) -> None:
        """Handle the start of a cohort on a device."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Handle a completed epoch of a run; `entry` holds the epoch's losses and metrics."""

    def record(self, record: Record) -> None:
        """Handle the end of a run, whose record is already on the disk."""

    def notice(self, text: str) -> None:
        """Handle a message for the user, such as a crash after which runs are retried."""

    def closed(self) -> None:
        """Handle the end of the runner; this is the last call."""


@dataclass
class Runner:
    """Executes the runs of a plan on the slots of an executor; a slot runs one job at a time.

    Args:
        plan: The plan.
        estimates: The estimated cost of each run, by the run's id.
        results: The results folder; the caller holds the folder's lock.
        executor: The executor that starts jobs, on this machine or on a cluster.
        observers: Receivers of the progress.
        data_root: Folder of the data sets; None: the folder in the variable `BENCH_DATA`, or else
            `data` in the current folder.
        threads: Number of threads of each worker on a CPU.
        graphs: Whether to capture steps as CUDA graphs.
        keep_teacher: Whether workers keep the teachers' outputs on disk.
    """

    plan: Plan
    estimates: "Mapping[str, Estimate]"
    results: Results
    executor: Executor
    observers: Sequence[Observer] = ()
    data_root: Path | None = None
    threads: int = 1
    graphs: bool = False
    keep_teacher: bool = False
    _queue: Queue = field(init=False)
    _tasks: dict[str, Task] = field(default_factory=dict)  # runs without a record, by id
    _running: dict[int, Cohort] = field(default_factory=dict)  # cohorts by slot
    _epochs: dict[str, int] = field(default_factory=dict)  # completed epochs, by run
    _split_reasons: dict[int, str] = field(default_factory=dict)  # reasons by slot
    _crashes: Counter[str] = field(default_factory=Counter)  # number of crashes by run

    def __post_init__(self) -> None:
        self._queue = Queue(len(self.executor.devices), work_of(self.estimates))

    def run(self, runs: Sequence[Run], restart: bool = False) -> None:
        """Execute runs until each has a record.

        Args:
            runs: The runs, for example those from `pending`.
            restart: Whether to delete the runs' records, weights and checkpoints first.

        Raises:
            Unwritable: The results folder cannot be written to.
        """
        if restart:
            for run in runs:
                self.results.delete_run(run.id)
        names = self.plan.names()
        self._tasks = {
            run.id: Task(run.id, names[run.id], run.specification, run.checkpoint, run.init)
            for run in runs
        }
        for run in runs:
            if (error := self.estimates[run.id].error) is not None:
                self._end(run.id, "skipped", error)
        self._queue.put(*cohorts(run for run in runs if run.id in self._tasks))
        try:
            while self._queue or self._running:
                self._start_ready()
                if self._running:
                    self._handle(*self.executor.next())
        finally:
            self.executor.stop()
            for observer in self.observers:
                observer.closed()

    def _start_ready(self) -> None:
        """Start cohorts on free slots, except cohorts that wait for their teacher."""
        free = [slot for slot in range(len(self.executor.devices)) if slot not in self._running]
        while free:
            running_work = sum(map(self._remaining, self._running.values()))
            cohort = self._queue.take(lambda run: run not in self._tasks, len(free), running_work)
            if cohort is None:
                return
            if self._start(free[0], cohort):
                free.pop(0)

    def _remaining(self, cohort: Cohort) -> float:
        """Return a cohort's remaining work, estimated from the epochs of one unfinished run."""
        run = next((run for run in cohort.runs if run.id in self._tasks), None)
        if run is None:
            return 0.0
        epochs = self.estimates[run.id].epochs(run) or 1
        last = run.specification.epochs or 1
        left = last - self._epochs.get(run.id, last - epochs)  # a stage has numbers up to 0
        return self._queue.work(cohort) * left / epochs

    def _start(self, slot: int, cohort: Cohort) -> bool:
        """Start a cohort on a slot; return whether it started.

        Runs that need a run without a result are recorded as skipped. If all runs of the cohort are
        skipped, the cohort does not start.
        """
        sources = {id: self.results.summary(id) for id in cohort.needs}
        for run in cohort.runs:
            if reason := self._missing_source(run, sources):
                self._end(run.id, "skipped", reason)
        cohort = Cohort(tuple(run for run in cohort.runs if run.id in self._tasks))
        if not cohort.runs:
            return False
        device = self.executor.devices[slot]
        for observer in self.observers:
            observer.started(cohort, device)
        self._running[slot] = cohort
        infos = {id: teacher_info(record) for id, record in sources.items() if record is not None}
        self.executor.start(slot, self._job(cohort, infos, device))
        return True

    def _missing_source(self, run: Run, sources: Mapping[str, Record | None]) -> str:
        """Return why a run cannot start because a run that it needs has no result; '' if none."""
        for id in run.needs:
            source = sources[id]
            if source is not None and source.status != "done":
                name = "its teacher" if id == run.teacher else self.plan.names()[id]
                return f"{name} is missing: {source.status}, {source.reason}"
            if id == run.specification.subject and not self.results.weights(id).exists():
                name = self.plan.names()[id]
                fix = "train it again with --overwrite always and a --filter for this run"
                return f"the weights of {name} are missing: {self.results.weights(id)}; {fix}"
        return ""

    def _job(self, cohort: Cohort, sources: Mapping[str, TeacherInfo], device: str) -> Job:
        kind, is_taught = cohort.runs[0].kind, self.plan.teacher_facts is not None
        return Job(
            id=cohort.id,
            tasks=tuple(self._tasks[run.id] for run in cohort.runs),
            teacher=sources.get(cohort.teacher or ""),
            sources={id: sources[id] for id in cohort.needs if id != cohort.teacher},
            device=device,
            threads=self.threads,
            results=str(self.results.folder),
            dataset=cohort.runs[0].dataset or self.plan.suite.data.name,
            facts=self.plan.facts_of(kind) if is_taught and kind != "probe" else None,
            teacher_facts=self._teacher_facts(cohort),
            data_root=str(self.data_root) if self.data_root else None,
            plugins=tuple(str(path) for path in self.plan.suite.plugins),
            graphs=self.graphs,
            keep_teacher=self.keep_teacher,
            plugins_enabled=self.plan.suite.registry.enabled,
            networks=self.plan.suite.networks,
            options=self.plan.suite.registry.options,
        )

    def _teacher_facts(self, cohort: Cohort) -> Facts | None:
        if self.plan.teacher_facts is None or cohort.teacher is None:
            return None
        return self.plan.facts_of(self.plan.runs[cohort.teacher].kind)

    def _handle(self, slot: int, event: Event) -> None:
        """Handle an event of the job on a slot."""
        match event:
            case {"event": "epoch", "run": run, "entry": entry}:
                self._epochs[run] = entry["epoch"]
                for observer in self.observers:
                    observer.epoch(run, entry)
            case {"event": "record", "record": content} if content["id"] in self._tasks:
                self._write(Record.model_validate(content))
            case {"event": "notice", "text": text}:
                self._notify(text)
            case {"event": "split", "reason": reason}:
                self._split_reasons[slot] = reason
            case {"event": "unwritable", "reason": reason}:
                raise Unwritable(reason)
            case {"event": "exit", "reason": reason}:
                reason = reason or "its worker ended without a record"
                self._exit(slot, reason, event.get("lost", False))

    def _exit(self, slot: int, reason: str, lost: bool) -> None:
        """Handle the end of a job: retry runs without a record, or record them as failed.

        After an event `split`, the runs are retried as two cohorts.
        """
        runs = tuple(run for run in self._running.pop(slot).runs if run.id in self._tasks)
        split_reason = self._split_reasons.pop(slot, None)
        if not runs:
            return
        if split_reason and len(runs) > 1:
            self._retry(halves(runs), f"{split_reason}; the runs resume as two cohorts")
            return
        if not lost:
            self._crashes.update(run.id for run in runs)
        if split_reason or self._crashes[runs[0].id] >= MAX_ATTEMPTS:
            failure = split_reason or f"{reason}; {MAX_ATTEMPTS} attempts failed"
            for run in runs:
                self._end(run.id, "failed", failure)
            return
        self._retry([Cohort(runs)], f"{reason}; the next attempt resumes from the last checkpoint")

    def _retry(self, groups: Sequence[Cohort], text: str) -> None:
        first, *others = (self._tasks[run.id].name for group in groups for run in group.runs)
        self._notify(f"{first}{f' and {len(others)} more' if others else ''}: {text}")
        self._queue.put(*groups)

    def _notify(self, text: str) -> None:
        for observer in self.observers:
            observer.notice(text)

    def _end(self, run: str, status: Status, reason: str) -> None:
        self._write(self._tasks[run].record(status, reason, finished=now()))

    def _write(self, record: Record) -> None:
        """Write a run's record; delete the run's checkpoint if the run will not resume."""
        self.results.write(record)
        if record.status in ("done", "diverged"):
            self.results.state(record.id).unlink(missing_ok=True)
        del self._tasks[record.id]
        for observer in self.observers:
            observer.record(record)


def pending(plan: Plan, results: Results, overwrite: Overwrite) -> list[Run]:
    """Return the runs of a plan that must be executed, teachers first.

    Args:
        plan: The plan.
        results: The results folder.
        overwrite: Which runs with a record to repeat. `never`: no runs; `failed`: failed and
            skipped runs, but not diverged runs; `always`: all runs.

    Returns:
        Runs to repeat, runs without a record, and the runs that these need if their weights are
        missing. A probe does not repeat a run: without weights, the probe is skipped.
    """
    missing: set[str] = set()
    for run in reversed(list(plan.runs.values())):  # a run comes after the runs that it needs
        record = results.summary(run.id)
        if record is None or record.status not in FINISHED[overwrite]:
            missing.add(run.id)
        if run.id in missing and run.kind != "probe":
            missing |= {id for id in run.needs if not results.weights(id).exists()}
    return [run for run in plan.runs.values() if run.id in missing]


def teacher_info(teacher: Record) -> TeacherInfo:
    """Return the teacher's entry in its students' records, from the teacher's own record."""
    network, weights, top1 = teacher.network.name, teacher.weights or "", teacher.top1 or 0.0
    info = TeacherInfo(id=teacher.id, network=network, sha256=weights, top1=top1)
    members = len(teacher.specification.members)
    return info.model_copy(update={"members": members}) if members else info
