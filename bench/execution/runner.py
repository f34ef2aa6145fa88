"""Which cohort runs where and when; what is done is not done again, what fails fails alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bench.execution.executors.local import Executor
from bench.execution.protocol import Event, Job, Task
from bench.execution.queue import Queue, Work, halves, work_of
from bench.planning.estimate import Forecast
from bench.planning.plan import Cohort, Plan, Run, cohorts
from bench.results import Record, Results, Unwritable
from bench.results.environment import now
from bench.results.record import Status

Overwrite = Literal["never", "failed", "always"]
ATTEMPTS = 2  # at a run whose worker crashes or hangs


class Observer(Protocol):
    """Whoever wants to know how a run of a suite goes on: a view, a tracker."""

    def started(self, cohort: Cohort, device: str) -> None:
        """A cohort has begun."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """A run has finished an epoch; the entry is that of its curves."""

    def record(self, record: Record) -> None:
        """A run has ended; its record is on disk."""

    def notice(self, text: str) -> None:
        """Something went wrong and was dealt with, in a sentence."""

    def closed(self) -> None:
        """Nothing more will come."""


@dataclass
class Runner:
    """Brings a plan to its end, on the slots of an executor."""

    plan: Plan
    forecasts: Mapping[str, Forecast]
    results: Results
    executor: Executor
    observers: Sequence[Observer] = ()
    data_root: Path | None = None
    threads: int = 1
    graphs: bool = False  # CUDA graphs
    _busy: dict[int, Cohort] = field(default_factory=dict)
    _epochs: dict[str, int] = field(default_factory=dict)  # that a run has done
    _open: dict[str, Task] = field(default_factory=dict)  # started or not, without a record yet
    _work: Work = field(init=False)
    _waiting: Queue = field(init=False)
    _unfit: dict[int, str] = field(default_factory=dict)  # to be one cohort: what its worker said
    _crashes: Counter[str] = field(default_factory=Counter)  # of the workers of a run

    def __post_init__(self) -> None:
        self._work = work_of(self.forecasts)
        self._waiting = Queue(len(self.executor.devices), self._work)

    def run(self, todo: Sequence[Run], afresh: bool = False) -> None:
        """Do these runs; afterwards each has a record. `afresh` forgets what was kept of them."""
        if afresh:
            for run in todo:
                self.results.forget(run.id)
        self._waiting.put(*cohorts(self._possible(todo)))
        try:
            while self._waiting or self._busy:
                self._start_ready()
                if self._busy:
                    self._handle(*self.executor.next())
        finally:
            self.executor.stop()
            for observer in self.observers:
                observer.closed()

    def _possible(self, runs: Sequence[Run]) -> list[Run]:
        """The runs that can be done, after a record with the reason for each that cannot."""
        names = self.plan.names()
        self._open = {run.id: _task(run, names[run.id]) for run in runs}
        for run in runs:
            if (obstacle := self.forecasts[run.id].obstacle) is not None:
                self._end(run.id, "skipped", obstacle)
        return [run for run in runs if run.id in self._open]

    def _start_ready(self) -> None:
        """Give every free slot the next cohort whose teacher is there."""
        free = [slot for slot in range(len(self.executor.devices)) if slot not in self._busy]
        while free and (cohort := self._waiting.take(self._ready, len(free), self._underway())):
            if self._start(free[0], cohort):
                free.pop(0)

    def _underway(self) -> float:
        """The work that is left of what was begun."""
        return sum(map(self._left, self._busy.values()))

    def _left(self, cohort: Cohort) -> float:
        """The work that is left of a cohort, by the epochs of that run which has most before it."""
        run = next((run for run in cohort.runs if run.id in self._open), None)
        if run is None:
            return 0.0
        epochs: int = run.specification["recipe"].get("epochs", 1)
        return self._work(cohort) * (1 - self._epochs.get(run.id, 0) / epochs)

    def _ready(self, teacher: str) -> bool:
        return teacher not in self._open

    def _start(self, slot: int, cohort: Cohort) -> bool:
        """Start a cohort, if its teacher has come to a good end."""
        teacher = self.results.summary(cohort.teacher) if cohort.teacher else None
        if teacher is not None and teacher["status"] != "done":
            reason = f"its teacher is missing: {teacher['status']}, {teacher['reason']}"
            for run in cohort.runs:
                self._end(run.id, "skipped", reason)
            return False
        device = self.executor.devices[slot]
        for observer in self.observers:
            observer.started(cohort, device)
        self._busy[slot] = cohort
        self.executor.start(slot, self._job(cohort, teacher, device))
        return True

    def _job(self, cohort: Cohort, teacher: Record | None, device: str) -> Job:
        return Job(
            id=cohort.id,
            tasks=tuple(self._open[run.id] for run in cohort.runs),
            teacher=_summary(teacher) if teacher else None,
            device=device,
            threads=self.threads,
            graphs=self.graphs,
            results=str(self.results.folder),
            dataset=self.plan.suite.data.name,
            data_root=str(self.data_root) if self.data_root else None,
            plugins=tuple(str(path) for path in self.plan.suite.plugins),
            plugins_enabled=self.plan.suite.registry.enabled,
        )

    def _handle(self, slot: int, event: Event) -> None:
        """Act on what a worker told."""
        match event:
            case {"event": "epoch"}:
                self._epochs[event["run"]] = event["entry"]["epoch"]
                for observer in self.observers:
                    observer.epoch(event["run"], event["entry"])
            case {"event": "record"} if event["record"]["id"] in self._open:
                self._keep(Record.model_validate(event["record"]))
            case {"event": "notice"}:
                self._notice(event["text"])
            case {"event": "split"}:
                self._unfit[slot] = event["reason"]
            case {"event": "unwritable"}:
                raise Unwritable(event["reason"])
            case {"event": "exit"}:
                self._exit(slot, event["reason"] or "its worker ended without a word")

    def _exit(self, slot: int, reason: str) -> None:
        """See to the runs that a worker left without a record: once more, in parts, or no more.

        All go on from their last whole epoch.
        """
        runs = tuple(run for run in self._busy.pop(slot).runs if run.id in self._open)
        unfit = self._unfit.pop(slot, None)
        if not runs:
            return
        if unfit and len(runs) > 1:
            self._again(halves(runs), f"{unfit}; they go on in two parts")
            return
        self._crashes.update(run.id for run in runs)
        if unfit or self._crashes[runs[0].id] >= ATTEMPTS:
            for run in runs:
                self._end(run.id, "failed", unfit or f"{reason}; it was tried {ATTEMPTS} times")
            return
        self._again([Cohort(runs)], f"{reason}; once more from the last epoch")

    def _again(self, groups: Sequence[Cohort], text: str) -> None:
        first, *others = (self._open[run.id].name for group in groups for run in group.runs)
        self._notice(f"{first}{f' and {len(others)} more' if others else ''}: {text}")
        self._waiting.put(*groups)

    def _notice(self, text: str) -> None:
        for observer in self.observers:
            observer.notice(text)

    def _end(self, run: str, status: Status, reason: str) -> None:
        self._keep(self._open[run].record(status, reason, finished=now()))

    def _keep(self, record: Record) -> None:
        self.results.write(record)
        if record["status"] in ("done", "diverged"):  # else it is what the next time goes on from
            self.results.state(record["id"]).unlink(missing_ok=True)
        del self._open[record["id"]]
        for observer in self.observers:
            observer.record(record)


def pending(plan: Plan, results: Results, overwrite: Overwrite) -> list[Run]:
    """The runs of a plan that are to be done, teachers first.

    Without a record always; `failed` adds those that failed or were skipped, `always` all. A
    diverged run is a finding, and counts as done. A teacher whose weights are gone is done again
    if a student needs it.
    """
    kept = {"never": {"done", "diverged", "failed", "skipped"}, "failed": {"done", "diverged"}}
    finished = kept.get(overwrite, set())
    missing = {}
    for run in plan.runs.values():
        record = results.summary(run.id)
        if record is None or record["status"] not in finished:
            missing[run.id] = run
    needed = {run.teacher for run in missing.values()} - missing.keys()
    gone = [
        run
        for run in plan.runs.values()
        if run.id in needed and not results.weights(run.id).exists()
    ]
    return [*gone, *missing.values()]


def _task(run: Run, name: str) -> Task:
    manifest = None
    if run.checkpoint is not None:
        manifest = {**asdict(run.checkpoint), "path": str(run.checkpoint.path)}
    return Task(run.id, name, run.specification, manifest)


def _summary(teacher: Record) -> dict[str, Any]:
    """What a student's record says of its teacher."""
    return {
        "id": teacher["id"],
        "network": teacher["network"]["name"],
        "sha256": teacher["weights"],
        "top1": teacher["metrics"]["last"]["top1"],
    }
