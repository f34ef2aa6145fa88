"""Progress of a running suite on the console: its state, and three views of it.

`Live` redraws a table in place, `Plain` writes lines of text, `Json` writes lines of JSON.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import rich.live
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.config.text import as_json, printable
from bench.errors import BenchError, unknown
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.estimate import Estimate
    from bench.planning.plan import Cohort, Plan, Run

LOST = ("failed", "diverged", "skipped")  # statuses of runs without a result
COLOURS = {"failed": "red", "diverged": "red", "skipped": "yellow"}
INTERVAL_S = 10.0  # between two plain lines about epochs
REFRESHES_PER_S = 2
MAX_LOST_SHOWN = 3  # latest runs without a result that are shown while others train


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
        status: Status of its record; empty while it has no record.
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
    status: str = ""
    reason: str = ""


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
        run.status, run.reason, run.top1 = record.status, record.reason or "", record.top1
        self.work -= (run.epochs - run.epoch) * run.work  # 0 unless it was lost
        self.cohorts = [cohort for cohort in self.cohorts if not all(r.status for r in cohort.runs)]
        return run

    @property
    def counts(self) -> Counter[str]:
        """Number of runs by the status of their record."""
        return Counter(run.status for run in self.runs.values() if run.status)

    @property
    def lost(self) -> list[RunProgress]:
        """The runs that ended without a result."""
        return [run for run in self.runs.values() if run.status in LOST]

    @property
    def time_left(self) -> float | None:
        """Seconds left: remaining work divided by the rate so far; None before the first epoch."""
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


class Live:
    """A table of the cohorts that train, redrawn in place; a summary remains at the end."""

    def __init__(self, progress: Progress, out: TextIO, console: Console | None = None) -> None:
        self._progress = progress
        self._console = console or Console(file=out, highlight=False)
        self._screen = rich.live.Live(
            console=self._console,
            get_renderable=self.draw,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
        )

    def started(self, cohort: "Cohort", device: str) -> None:
        """Show the cohort."""
        self._progress.start(cohort, device)
        self._screen.start()

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Show the run's epoch and accuracy."""
        self._progress.advance(run, entry)

    def record(self, record: Record) -> None:
        """Count the run."""
        self._progress.end(record)

    def notice(self, text: str) -> None:
        """Print the notice above the table."""
        self._console.print(printable(text), soft_wrap=True, markup=False)

    def closed(self) -> None:
        """Replace the table by a summary."""
        self._screen.stop()
        for line in summary(self._progress):
            self.notice(line)

    def draw(self) -> RenderableType:
        """Return the current view; rich calls this in a thread of its own."""
        progress = self._progress
        bar = Table.grid(padding=(0, 2))
        name = Text(progress.plan.suite.name, "bold")
        bar.add_row(name, ProgressBar(progress.work or 1.0, progress.done))
        rows = [row for cohort in progress.cohorts for row in _rows(cohort)]
        return Group(bar, Text(progress.summary), *_latest_lost(progress), *rows)


class Lines:
    """Lines of text on a stream."""

    def __init__(self, progress: Progress, out: TextIO) -> None:
        self._progress, self._out = progress, out
        self._last_line = progress.clock()

    def _write(self, line: str) -> None:
        self._last_line = self._progress.clock()
        self._out.write(f"{printable(line)}\n")
        self._out.flush()


class Plain(Lines):
    """A line for each start, end and notice, and a line of progress every ten seconds."""

    def started(self, cohort: "Cohort", device: str) -> None:
        """Write which runs start on which device."""
        started = self._progress.start(cohort, device)
        methods = ", ".join(dict.fromkeys(run.method for run in started.runs))
        self._write(f"started   {started.label} on {device}{methods and f': {methods}'}")

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Write the epoch of the cohort, unless a line was written just now."""
        cohort = self._progress.advance(run, entry)
        if self._progress.clock() - self._last_line >= INTERVAL_S:
            self._write(f"epoch     {cohort.epoch} of {cohort.label}; {self._progress.summary}")

    def record(self, record: Record) -> None:
        """Write how the run ended."""
        self._write(outcome(self._progress.end(record), record.seconds))

    def notice(self, text: str) -> None:
        """Write the notice."""
        self._write(f"notice    {text}")

    def closed(self) -> None:
        """Write how many runs ended with which status."""
        self._write(next(summary(self._progress)))


class Json(Lines):
    """Every event as a line of JSON."""

    def started(self, cohort: "Cohort", device: str) -> None:
        """Write `cohort`, `device`, and `runs`, each with `id` and `name`."""
        started = self._progress.start(cohort, device)
        runs = [{"id": run.run.id, "name": run.name} for run in started.runs]
        self._event("started", cohort=cohort.id, device=device, runs=runs)

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Write `id` and `name` of the run, and the `entry` of its curves."""
        self._progress.advance(run, entry)
        self._event("epoch", id=run, name=self._progress.runs[run].name, entry=entry)

    def record(self, record: Record) -> None:
        """Write `id`, `name`, `status`, `reason`, `metrics` and `seconds` of the record."""
        name = self._progress.end(record).name
        fields = record.model_dump(mode="json", include={"status", "reason", "metrics", "seconds"})
        self._event("record", id=record.id, name=name, **fields)

    def notice(self, text: str) -> None:
        """Write `text`."""
        self._event("notice", text=text)

    def closed(self) -> None:
        """Write the number of `runs` to do, their `counts` by status, and the `seconds` taken."""
        progress = self._progress
        seconds = round(progress.clock() - progress.begun, 3)
        self._event("closed", runs=len(progress.runs), counts=progress.counts, seconds=seconds)

    def _event(self, event: str, **content: Any) -> None:
        self._write(as_json({"event": event, **content}, indent=None))


def summary(progress: Progress) -> Iterator[str]:
    """Yield a line with the number of runs by status, then a line for each reason."""
    name, counts = progress.plan.suite.name, progress.counts
    counts["not finished"] = len(progress.runs) - counts.total()
    order = ("done", *LOST, "not finished")
    parts = [f"{counts[status]} {status}" for status in order if counts[status]]
    if not parts:
        yield f"{name}: nothing to do, all {len(progress.plan.runs)} runs have a record"
        return
    yield f"{name}: {', '.join(parts)}, after {duration(progress.clock() - progress.begun)}"
    lost = ((run.status, run.name, run.reason) for run in progress.lost)
    for status, names, reason in group_reasons(lost):
        yield f"  {status:9} {names}: {reason}"


def outcome(run: RunProgress, seconds: float) -> str:
    """Return a line about how a run ended after so many seconds of training."""
    if run.status != "done":
        return f"{run.status:9} {run.name}: {run.reason}"
    top1 = f"top-1 {run.top1:.2f} %, " if run.top1 is not None else ""
    trained = duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"
    return f"done      {run.name}: {top1}{trained}"


def _rows(cohort: CohortProgress) -> Iterator[RenderableType]:
    """Yield a line with the epoch and a line with the accuracies of each pair of a cohort."""
    pairs: dict[str, list[RunProgress]] = {}
    for run in cohort.runs:
        pairs.setdefault(run.pair, []).append(run)
    for pair, runs in pairs.items():
        title = [cohort.device, cohort.label, f"epoch {cohort.epoch}"]
        if runs[0].method:
            title[1] = f"{pair} seed {runs[0].run.specification.seed}"
            lost = [run.status for run in runs if run.status in LOST]
            title.append(f"{len(runs) - len(lost)} training")
            title += [f"{lost.count(status)} {status}" for status in dict.fromkeys(lost)]
        yield Text("  ".join(title), "cyan", no_wrap=True, overflow="ellipsis")
        yield Padding(Columns(map(_accuracy, runs), padding=(0, 2)), (0, 0, 0, 2))


def _accuracy(run: RunProgress) -> Text:
    """Return a method's last top-1 in a fixed width, or its status if it has no result."""
    if run.status in LOST:
        return Text(f"{run.method} {run.status}", COLOURS[run.status])
    value = f"{run.top1:.1f}" if run.top1 is not None else "-"
    return Text(f"{run.method or 'top-1'} {value:>4}")


def _latest_lost(progress: Progress) -> Iterator[Text]:
    """Yield a line for each of the latest runs without a result."""
    for run in progress.lost[-MAX_LOST_SHOWN:]:
        line = printable(outcome(run, 0.0))
        yield Text(line, COLOURS[run.status], overflow="ellipsis", no_wrap=True)


VIEWS: dict[str, type[Live | Plain | Json]] = {"live": Live, "plain": Plain, "json": Json}


def view(kind: str, progress: Progress, out: TextIO) -> Live | Plain | Json:
    """Return the observer that shows progress.

    Args:
        kind: `live`, `plain` or `json`; `auto` is live on a terminal, else plain.
        progress: State of the session.
        out: Where the view is written.

    Raises:
        BenchError: The kind is unknown.
    """
    if kind == "auto":
        terminal = out.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        kind = "live" if terminal else "plain"
    if kind not in VIEWS:
        raise BenchError(unknown("view", kind, ["auto", *VIEWS]))
    return VIEWS[kind](progress, out)
