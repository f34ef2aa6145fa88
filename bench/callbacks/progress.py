"""How far a run of a suite is: counts, epochs, accuracies, and the time that is left."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.callbacks.pace import Pace, ending
from bench.planning.plan import Cohort, cohorts
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate
    from bench.planning.plan import Plan, Run

AGAIN = 0.002  # of the time left: after so much the end is foreseen anew


@dataclass(eq=False)
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


@dataclass(eq=False)
class Underway:
    """A cohort under way."""

    device: str
    label: str
    courses: list[Course]
    cohort: Cohort
    since: float  # by the clock: when it began, or ended its last epoch
    trains: bool = False  # an epoch is behind it
    told: float = 0.0  # seconds that the runs have told of the epoch

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

    `todo` are the runs that the session is to do, on so many `slots`. `clock` counts seconds.
    """

    plan: "Plan"
    todo: Sequence["Run"]
    estimates: "Mapping[str, Estimate]" = field(default_factory=dict)
    slots: int = 1
    clock: Callable[[], float] = time.monotonic
    groups: list[Underway] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = self.plan.names()
        self.courses: dict[str, Course] = {}
        for run in self.todo:
            cell = self.plan.first.get(run.id)
            pair, method = (cell.pair.name, cell.method.name) if cell else (names[run.id], "")
            epochs = run.specification["recipe"].get("epochs", 1)
            work = 3 * self._passes(run.id, 1 / 3)
            self.courses[run.id] = Course(run, names[run.id], pair, method, work, epochs)
        self.begun = self.clock()
        self._cohorts = cohorts(self.todo)
        self._of: dict[str, Underway] = {}  # the cohort of each run that has been started
        self._pace = Pace()
        self._foreseen: tuple[float, float] | None = None  # when, and for when: the end of all

    def start(self, cohort: Cohort, device: str) -> Underway:
        """Note that a cohort begins; its state."""
        courses = [self.courses[run.id] for run in cohort.runs]
        group = Underway(device, _label(courses), courses, cohort, self.clock())
        before = {id(self._of[run.id]) for run in cohort.runs if run.id in self._of}
        self.groups = [*(g for g in self.groups if id(g) not in before), group]
        self._of |= dict.fromkeys((run.id for run in cohort.runs), group)
        return group

    def advance(self, run: str, entry: Mapping[str, Any]) -> Underway:
        """Note an epoch of a run; the state of its cohort."""
        course, group = self.courses[run], self._of[run]
        course.epoch = entry["epoch"]
        course.top1 = entry.get("test", {}).get("top1", course.top1)
        self._pace.add(course.pair, entry["seconds"], course.work)
        group.told += entry["seconds"]
        if group.between(course.epoch):
            self._clock(group, entry.get("shared_seconds", 0.0))
        return group

    def end(self, record: Record) -> Course:
        """Note a record; a cohort whose runs all have theirs is under way no more."""
        course = self.courses[record["id"]]
        course.status, course.reason = record["status"], record["reason"]
        course.top1 = record["metrics"].get("last", {}).get("top1")
        if self._foreseen is not None:
            self._foreseen = -math.inf, self._foreseen[1]  # to be told anew
        group = self._of.get(record["id"])
        if group in self.groups and all(c.status for c in group.courses):
            self.groups.remove(group)
        return course

    def _clock(self, group: Underway, shared: float) -> None:
        """Note what the clock counted for an epoch of a cohort; starting up is no training."""
        now, told = self.clock(), group.told + shared
        if group.cohort.teacher is not None:
            asked = self._passes(group.cohort.teacher, 0.0)
            self._pace.add(group.cohort.teacher, shared, asked)
        if group.trains:
            self._pace.clock(now - group.since, told)
        else:
            self._pace.began(max(0.0, now - group.since - told * self._pace.around))
        group.since, group.trains, group.told = now, True, 0.0

    def _passes(self, run: str, unknown: float) -> float:
        """The work of one epoch of a network's forward passes."""
        estimate = self.estimates.get(run)
        network = estimate.network if estimate else None
        return float(network.multiply_adds) if network else unknown

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
        now = self.clock()
        if self._foreseen is None or now - self._foreseen[0] > AGAIN * (self._foreseen[1] - now):
            self._foresee(now)
        return None if self._foreseen is None else max(0.0, self._foreseen[1] - now)

    def _foresee(self, now: float) -> None:
        """Tell anew when all will be done: what is left, scheduled as the runner will do it.

        An epoch takes as long as those of the same pair, and the same teacher's passes, have taken
        so far; where there are none, as the multiply-adds say next to all that was measured.
        """
        if not self._pace:
            return
        going = {run.id for group in self.groups for run in group.cohort.runs}
        rests = (
            tuple(r for r in c.runs if r.id not in going and not self.courses[r.id].status)
            for c in self._cohorts
        )
        waiting = [Cohort(runs) for runs in rests if runs]
        underway = [(self._rest(group, now), group.cohort) for group in self.groups]
        self._foreseen = now, now + ending(underway, waiting, self.slots, self._whole)

    def _whole(self, cohort: Cohort) -> float:
        """Seconds of a cohort from its start to its end."""
        return self._pace.start + self._training(cohort)

    def _rest(self, group: Underway, now: float) -> float:
        """Seconds that are left of a cohort under way."""
        start = 0.0 if group.trains else self._pace.start
        return max(0.0, start + self._training(group.cohort) - (now - group.since))

    def _training(self, cohort: Cohort) -> float:
        """Seconds of the epochs that a cohort has before it, the teacher's passes included."""
        courses = [self.courses[run.id] for run in cohort.runs]
        lefts = [0 if course.status else course.epochs - course.epoch for course in courses]
        own = sum(
            left * self._pace.seconds(course.pair, course.work)
            for left, course in zip(lefts, courses, strict=True)
        )
        shared = self._passes(cohort.teacher, 0.0) if cohort.teacher else 0.0
        return self._pace.around * (own + max(lefts) * self._pace.seconds(cohort.teacher, shared))

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


def _label(courses: Sequence[Course]) -> str:
    """`resnet20/resnet8 seed 0`, for several pairs with the students' names side by side."""
    first = courses[0]
    pairs = list(dict.fromkeys(course.pair for course in courses))
    if not first.method:
        return f"teacher {first.name}"
    return f"{', '.join(pairs)} seed {first.run.specification['seed']}"
