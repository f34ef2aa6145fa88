"""How far a running suite is: counts, epochs, accuracies, time left."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate
    from bench.planning.plan import Cohort, Plan, Run

LOST = ("failed", "diverged", "skipped")  # statuses of runs without a result


@dataclass(eq=False)
class RunProgress:
    """The progress of one run.

    Attributes:
        run: The run.
        name: Name shown to people.
        pair: Name of its pair; of a teacher, its own name.
        method: Name of its method; empty for a teacher.
        epochs: Number of epochs.
        work: Work of one epoch; the unit is the same for all runs.
        epoch: Last completed epoch.
        top1: Last measured top-1 accuracy in percent.
        status: Status of its record; None while it has no record.
        reason: Reason in its record.
    """

    run: "Run"
    name: str
    pair: str
    method: str
    epochs: int
    work: float
    epoch: int = 0
    top1: float | None = None
    status: str | None = None
    reason: str | None = None


@dataclass(eq=False)
class CohortProgress:
    """The progress of a cohort that was started."""

    device: str
    runs: list[RunProgress]

    @property
    def label(self) -> str:
        """The cohort's name: `resnet20/resnet8 seed 0`, or `teacher resnet20 seed 0`."""
        first = self.runs[0]
        if not first.method:
            return f"teacher {first.name}"
        pairs = dict.fromkeys(run.pair for run in self.runs)
        return f"{', '.join(pairs)} seed {first.run.specification.seed}"

    @property
    def epoch(self) -> str:
        """The furthest epoch of its runs and their number of epochs: `12/30`."""
        return f"{max(run.epoch for run in self.runs)}/{max(run.epochs for run in self.runs)}"


class Progress:
    """The state of a running suite, updated by the events of its runner.

    A view may read it in another thread: lists are replaced, not changed.

    Args:
        plan: The plan.
        todo: Runs to do in this session.
        estimates: Cost of each run by id; a run without one counts by its epochs.
        clock: Returns seconds.
    """

    def __init__(
        self,
        plan: "Plan",
        todo: Sequence["Run"],
        estimates: "Mapping[str, Estimate] | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan, self.clock, self.begun = plan, clock, clock()
        self.runs = {run.id: self._pending(run, estimates or {}) for run in todo}
        self.cohorts: list[CohortProgress] = []  # those that train now
        self.work = sum(run.epochs * run.work for run in self.runs.values())
        self.done = 0.0  # of the work, in this session
        self._training_since: float | None = None
        self._last_epoch = 0.0  # time of the last epoch

    def _pending(self, run: "Run", estimates: "Mapping[str, Estimate]") -> RunProgress:
        name, cell = self.plan.names()[run.id], self.plan.first.get(run.id)
        pair, method = (cell.pair.name, cell.method.name) if cell else (name, "")
        epochs = run.specification.epochs or 1
        estimate = estimates.get(run.id)
        work = estimate.work(run, 1) / epochs if estimate else 0.0
        return RunProgress(run, name, pair, method, epochs, work or 1.0)

    def start(self, cohort: "Cohort", device: str) -> CohortProgress:
        """Note that a cohort starts; a part of a cohort that was split replaces that cohort."""
        runs = [self.runs[run.id] for run in cohort.runs]
        others = [cohort for cohort in self.cohorts if not set(cohort.runs) & set(runs)]
        self.cohorts = [*others, CohortProgress(device, runs)]
        return self.cohorts[-1]

    def advance(self, run_id: str, entry: Mapping[str, Any]) -> CohortProgress:
        """Note a completed epoch of a run."""
        run = self.runs[run_id]
        if run.epoch == 0:  # resumed: earlier epochs are not part of the rate
            run.epoch = entry["epoch"] - 1
            self.work -= run.epoch * run.work
        self.done += max(0, entry["epoch"] - run.epoch) * run.work
        run.epoch, self._last_epoch = entry["epoch"], self.clock()
        run.top1 = entry.get("test", {}).get("top1", run.top1)
        cohort = next(cohort for cohort in self.cohorts if run in cohort.runs)
        if self._training_since is None:  # starting workers is not part of the rate
            epoch_s = entry["seconds"] * len(cohort.runs) + entry.get("shared_seconds", 0.0)
            self._training_since = self._last_epoch - epoch_s
        return cohort

    def end(self, record: Record) -> RunProgress:
        """Note a record; a cohort ends with the last record of its runs."""
        run = self.runs[record.id]
        run.status, run.reason, run.top1 = record.status, record.reason, record.top1
        self.work -= (run.epochs - run.epoch) * run.work  # 0 unless it was lost
        self.cohorts = [cohort for cohort in self.cohorts if not all(r.status for r in cohort.runs)]
        return run

    @property
    def counts(self) -> Counter[str]:
        """Number of runs by the status of their record."""
        return Counter(run.status for run in self.runs.values() if run.status)

    @property
    def time_left(self) -> float | None:
        """Seconds left: remaining work over the rate so far; None before the first epoch."""
        if self._training_since is None:
            return None
        per_work = (self._last_epoch - self._training_since) / self.done
        return max(0.0, (self.work - self.done) * per_work - (self.clock() - self._last_epoch))

    @property
    def summary(self) -> str:
        """One line: `31 of 48 runs, 1 failed, about 2 min 10 s left`."""
        counts, left = self.counts, self.time_left
        parts = [f"{counts.total()} of {len(self.runs)} runs"]
        parts += [f"{counts[status]} {status}" for status in sorted(counts) if status != "done"]
        if left is not None and counts.total() < len(self.runs):
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


def group_reasons(runs: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return each state and reason once, with the names of its runs.

    Args:
        runs: State, name and reason of each run.

    Returns:
        State, names and reason; the names are those of `resnet8/vgg8 at seed 0 and 1 more`.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for state, name, reason in runs:
        names.setdefault((state, reason), []).append(name)
    return [
        (state, group[0] + (f" and {len(group) - 1} more" if group[1:] else ""), reason)
        for (state, reason), group in names.items()
    ]


def duration(seconds: float) -> str:
    """Return seconds in at most two units: `12 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    rounded = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if rounded >= size:
            return f"{rounded // size} {unit} {rounded % size // part} {smaller}"
    return f"{rounded // 60} min {rounded % 60} s" if rounded >= 60 else f"{rounded} s"
