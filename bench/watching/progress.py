"""How far a run of a suite is: counts, epochs, accuracies, and the time that is left."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.results import Record

if TYPE_CHECKING:
    from bench.feasibility import Forecast
    from bench.plan import Cohort, Plan, Run


@dataclass
class Course:
    """One run on its way from the first epoch to a record."""

    run: "Run"
    name: str
    pair: str  # a teacher's is its network
    method: str  # empty for a teacher
    work: float  # of an epoch, in any unit
    epochs: int
    epoch: int = 0
    top1: float | None = None  # percent, where it was measured last
    status: str | None = None  # of its record
    reason: str | None = None
    here: int = 0  # epochs done in this session
    seconds: float = 0.0  # that they took

    def left(self, pace: float) -> float:
        """Seconds of training that are left, by its own epochs or, without any, by the pace."""
        each = self.seconds / self.here if self.here else self.work * pace
        return 0.0 if self.status else (self.epochs - self.epoch) * each


@dataclass
class Underway:
    """A cohort under way."""

    device: str
    label: str
    courses: list[Course]

    @property
    def epoch(self) -> str:
        """`12/30`: how far the first of the cohort is."""
        return f"{max(c.epoch for c in self.courses)}/{max(c.epochs for c in self.courses)}"

    def between(self, epoch: int) -> bool:
        """Whether no run is about to finish the epoch: all have, or have dropped out before."""
        return all(c.status or c.epoch != epoch - 1 for c in self.courses)


@dataclass
class Progress:
    """The state of a session, told by the events of its runner.

    `todo` are the runs that the session is to do. `clock` counts seconds.
    """

    plan: "Plan"
    todo: Sequence["Run"]
    forecasts: "Mapping[str, Forecast]" = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    groups: list[Underway] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = self.plan.names()
        cells = {cell.run: cell for cell in reversed(self.plan.cells)}
        self.courses: dict[str, Course] = {}
        for run in self.todo:
            cell = cells.get(run.id)
            pair, method = (cell.pair.name, cell.method.name) if cell else (names[run.id], "")
            epochs = run.specification["recipe"].get("epochs", 1)
            work = _work(self.forecasts.get(run.id))
            self.courses[run.id] = Course(run, names[run.id], pair, method, work, epochs)
        self.begun = self.clock()
        self._training: float | None = None  # since when, by the clock; starting up is no training
        self._end: float | None = None  # when all is expected to be done, by the clock

    def start(self, cohort: "Cohort", device: str) -> Underway:
        """Note that a cohort begins; its state."""
        courses = [self.courses[run.id] for run in cohort.runs]
        group = Underway(device, _label(courses), courses)
        others = [g for g in self.groups if not any(c in courses for c in g.courses)]
        self.groups = [*others, group]  # a second attempt takes the first one's place
        return group

    def advance(self, run: str, entry: Mapping[str, Any]) -> Underway:
        """Note an epoch of a run; the state of its cohort."""
        course = self.courses[run]
        group = next(group for group in self.groups if course in group.courses)
        course.epoch = entry["epoch"]
        course.top1 = entry.get("test", {}).get("top1", course.top1)
        course.here += 1
        course.seconds += entry["seconds"]
        if group.between(course.epoch):
            self._expect()
        return group

    def end(self, record: Record) -> Course:
        """Note a record; a cohort whose runs all have theirs is under way no more."""
        course = self.courses[record["id"]]
        course.status, course.reason = record["status"], record["reason"]
        course.top1 = record["metrics"].get("last", {}).get("top1")
        self.groups = [g for g in self.groups if any(c.status is None for c in g.courses)]
        self._expect()
        return course

    @property
    def counts(self) -> Counter[str]:
        """How many runs have ended with each status."""
        return Counter(course.status for course in self.courses.values() if course.status)

    @property
    def elapsed(self) -> float:
        """Seconds since the session began."""
        return self.clock() - self.begun

    @property
    def share(self) -> float:
        """How much of the work is behind, from 0 to 1."""
        courses = self.courses.values()
        total = sum(course.epochs * course.work for course in courses)
        behind = sum((c.epochs if c.status else c.epoch) * c.work for c in courses)
        return behind / total if total else 1.0

    def left(self) -> float | None:
        """Seconds until all is expected to be done; None before the first epoch."""
        return None if self._end is None else max(0.0, self._end - self.clock())

    def _expect(self) -> None:
        """Tell anew when all will be done.

        A run's epochs take as long as those it has done, or else as the forecasts' multiply-adds
        say next to all that was measured. What the clock counted for the epochs so far, next to
        their sum, tells how many go on side by side and what else takes time.
        """
        seconds = sum(course.seconds for course in self.courses.values())
        work = sum(course.here * course.work for course in self.courses.values())
        if seconds and work:
            now = self.clock()
            if self._training is None:
                self._training = max(self.begun, now - seconds)
            left = sum(course.left(seconds / work) for course in self.courses.values())
            self._end = now + left * (now - self._training) / seconds

    def said(self) -> str:
        """`31 of 48 runs, 1 failed, about 2 min 10 s left`."""
        counts = self.counts
        parts = [f"{counts.total()} of {len(self.courses)} runs"]
        parts += [f"{counts[status]} {status}" for status in sorted(counts) if status != "done"]
        left = self.left()
        if left is not None and counts.total() < len(self.courses):
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """`12 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`: two units at most."""
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _work(forecast: "Forecast | None") -> float:
    network = forecast.network if forecast else None
    return float(network.multiply_adds) if network else 1.0


def _label(courses: Sequence[Course]) -> str:
    """`resnet20/resnet8 seed 0`, for several pairs with the students' names side by side."""
    first = courses[0]
    pairs = list(dict.fromkeys(course.pair for course in courses))
    if not first.method:
        return f"teacher {first.name}"
    return f"{', '.join(pairs)} seed {first.run.specification['seed']}"
