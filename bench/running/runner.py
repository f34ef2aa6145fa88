"""Which cohort runs where and when; what is done is not done again, what fails fails alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from bench.environment import now
from bench.feasibility import Forecast
from bench.job import Event, Job, Status, Task
from bench.plan import Cohort, Plan, Run, cohorts
from bench.results import Record, Results
from bench.running.executor import Executor

Overwrite = Literal["never", "failed", "always"]
MOST_PARTS = 4  # a cohort is split into at most so many, to keep all slots busy


class Observer(Protocol):
    """Whoever wants to know how a run of a suite goes on: a view, a tracker."""

    def started(self, cohort: Cohort, device: str) -> None:
        """A cohort has begun."""

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """A run has finished an epoch; the entry is that of its curves."""

    def record(self, record: Record) -> None:
        """A run has ended; its record is on disk."""

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
    images: int = 1  # in the training set, to weigh cohorts by
    _waiting: list[Cohort] = field(default_factory=list)
    _busy: dict[int, Cohort] = field(default_factory=dict)
    _open: dict[str, Task] = field(default_factory=dict)  # started or not, without a record yet

    def run(self, todo: Sequence[Run], afresh: bool = False) -> None:
        """Do these runs; afterwards each has a record. `afresh` forgets what was kept of them."""
        if afresh:
            for run in todo:
                self.results.forget(run.id)
        self._waiting = self._queue(self._possible(todo))
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

    def _queue(self, runs: Sequence[Run]) -> list[Cohort]:
        """Cohorts in the order to start them: teachers before students, long before short."""
        groups = cohorts(runs)
        teachers = [group for group in groups if group.teacher is None]
        students = [group for group in groups if group.teacher is not None]
        students = divided(students, len(self.executor.devices), self._work)
        return [
            *sorted(teachers, key=self._work, reverse=True),
            *sorted(students, key=self._work, reverse=True),
        ]

    def _work(self, cohort: Cohort) -> float:
        """Multiply-adds of a cohort's training, the teacher's passes included."""
        learning = sum(self.forecasts[r.id].work(r, self.images) for r in cohort.runs)
        if cohort.teacher is None:
            return learning
        asked = self.forecasts[cohort.teacher].work(cohort.runs[0], self.images) / 3
        return learning + asked

    def _start_ready(self) -> None:
        """Give every free slot the first cohort whose teacher is there."""
        for slot in range(len(self.executor.devices)):
            if slot in self._busy:
                continue
            cohort = next((c for c in self._waiting if self._ready(c)), None)
            if cohort is not None:
                self._waiting.remove(cohort)
                self._start(slot, cohort)

    def _ready(self, cohort: Cohort) -> bool:
        return cohort.teacher is None or cohort.teacher not in self._open

    def _start(self, slot: int, cohort: Cohort) -> None:
        teacher = self.results.record(cohort.teacher) if cohort.teacher else None
        if teacher is not None and teacher["status"] != "done":
            reason = f"its teacher is missing: {teacher['status']}, {teacher['reason']}"
            for run in cohort.runs:
                self._end(run.id, "skipped", reason)
            return
        device = self.executor.devices[slot]
        for observer in self.observers:
            observer.started(cohort, device)
        self._busy[slot] = cohort
        self.executor.start(slot, self._job(cohort, teacher, device))

    def _job(self, cohort: Cohort, teacher: Record | None, device: str) -> Job:
        return Job(
            id=cohort.id,
            tasks=tuple(self._open[run.id] for run in cohort.runs),
            teacher=teacher and _summary(teacher),
            device=device,
            threads=self.threads,
            results=str(self.results.folder),
            data_root=str(self.data_root) if self.data_root else None,
            plugins=tuple(str(path) for path in self.plan.suite.plugins),
        )

    def _handle(self, slot: int, event: Event) -> None:
        """Act on what a worker told."""
        if event["event"] == "epoch":
            for observer in self.observers:
                observer.epoch(event["run"], event["entry"])
        elif event["event"] == "record":
            self._keep(event["record"])
        else:
            reason = event["reason"] or "its worker ended without a word"
            for run in self._busy.pop(slot).runs:
                if run.id in self._open:
                    self._end(run.id, "failed", reason)

    def _end(self, run: str, status: Status, reason: str) -> None:
        self._keep(self._open[run].record(status, reason, finished=now()))

    def _keep(self, record: Record) -> None:
        self.results.write(record)
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
    missing = []
    for run in plan.runs.values():
        record = results.record(run.id)
        if record is None or record["status"] not in finished:
            missing.append(run)
    needed = {run.teacher for run in missing}
    gone = [
        run
        for run in plan.runs.values()
        if run.id in needed and run not in missing and not results.weights(run.id).exists()
    ]
    return [*gone, *missing]


def divided(groups: Sequence[Cohort], slots: int, work: Callable[[Cohort], float]) -> list[Cohort]:
    """The cohorts, split where that ends earlier on so many slots; results stay the same."""
    choices = []
    for parts in range(1, MOST_PARTS + 1):
        choices.append([part for group in groups for part in _split(group, parts)])
    return min(choices, key=lambda choice: _makespan([work(c) for c in choice], slots))


def _split(cohort: Cohort, parts: int) -> list[Cohort]:
    found = [cohort.runs[start::parts] for start in range(parts)]
    return [Cohort(runs) for runs in found if runs]


def _makespan(durations: Sequence[float], slots: int) -> float:
    """When the last slot ends if the longest are always started first."""
    ends = [0.0] * slots
    for duration in sorted(durations, reverse=True):
        ends[ends.index(min(ends))] += duration
    return max(ends)


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
