"""Show the progress of a running suite on the console.

`Progress` holds the state of the suite's runs. One of three views shows it: `Live` redraws a table
in place, `Plain` writes lines of text, `Json` writes lines of JSON.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import rich.live
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.config.text import as_json, group_reasons, printable
from bench.errors import BenchError, unknown
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.cohorts import Cohort
    from bench.planning.estimate import Estimate
    from bench.planning.plan import Plan, Run

LOST = ("failed", "diverged", "skipped")  # statuses of runs without a result
COLOURS = {"failed": "red", "diverged": "red", "skipped": "yellow"}
INTERVAL_S = 10.0  # `Plain` writes a line about epochs only if its last line is this old
REFRESHES_PER_S = 2
MAX_LOST_SHOWN = 3  # the live table names at most this many of the runs without a result


@dataclass(eq=False)
class RunProgress:
    """The progress of one run.

    Attributes:
        run: The run.
        name: Name of the run in messages.
        pair: Name of the run's pair of teacher and student; for a teacher's run, equal to `name`.
        method: Name of the run's method; empty for a teacher.
        epochs: Number of epochs.
        work: Estimated work of one epoch; all runs use the same unit.
        epoch: Last completed epoch.
        top1: Last measured top-1 accuracy in percent.
        status: Status in the run's record; empty while there is no record.
        reason: Reason in the run's record, such as an error; empty if the run succeeded.
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
    """The progress of a started cohort, which is a group of runs that train together."""

    device: str
    runs: list[RunProgress]

    @property
    def label(self) -> str:
        """The cohort's name, such as `resnet20/resnet8 seed 0` or `teacher resnet20 seed 0`."""
        first = self.runs[0]
        if first.run.kind == "probe":
            others = len(self.runs) - 1
            return f"{first.name} and {others} more" if others else first.name
        if not first.method:
            return f"teacher {first.name}"
        pairs = dict.fromkeys(run.pair for run in self.runs)
        return f"{', '.join(pairs)} seed {first.run.specification.seed}"

    @property
    def epoch(self) -> str:
        """The highest completed epoch of any run, and the number of epochs, such as `12/30`."""
        return f"{max(run.epoch for run in self.runs)}/{max(run.epochs for run in self.runs)}"


class Progress:
    """The state of a running suite, updated by the runner's events.

    A view may read the state in another thread. A list is therefore replaced by a new
    list, never changed in place.

    Args:
        plan: The plan.
        todo: Runs to execute in this session.
        estimates: Estimated cost of each run, by id. Without an estimate, each epoch of a run
            counts as one unit of work.
        clock: Function that returns the time in seconds.
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
        self.cohorts: list[CohortProgress] = []  # cohorts that train now
        self.work = sum(run.epochs * run.work for run in self.runs.values())
        self.done = 0.0  # work done in this session
        self._working_since: float | None = None
        self._last_epoch = 0.0  # time at which the last epoch or measure ended

    def _pending(self, run: "Run", estimates: "Mapping[str, Estimate]") -> RunProgress:
        name, cell = self.plan.names()[run.id], self.plan.first.get(run.id)
        pair, method = (cell.pair.name, cell.method.name) if cell else (name, "")
        epochs = run.specification.epochs or 1
        estimate = estimates.get(run.id)
        work = estimate.work(run, 1) / (estimate.epochs(run) or 1) if estimate else 0.0
        return RunProgress(run, name, pair, method, epochs, work or 1.0)

    def start(self, cohort: "Cohort", device: str) -> CohortProgress:
        """Add a cohort that starts; return its progress.

        Earlier cohorts that share a run with the new cohort are removed, for example if the runner
        has split a cohort.
        """
        runs = [self.runs[run.id] for run in cohort.runs]
        others = [cohort for cohort in self.cohorts if not set(cohort.runs) & set(runs)]
        self.cohorts = [*others, CohortProgress(device, runs)]
        return self.cohorts[-1]

    def advance(self, run_id: str, entry: Mapping[str, Any]) -> CohortProgress:
        """Update the state after an epoch of a run; return the progress of the run's cohort."""
        run = self.runs[run_id]
        if run.epoch == 0:  # epochs before a resume are not work of this session
            run.epoch = entry["epoch"] - 1
            self.work -= run.epoch * run.work
        run.top1 = entry.get("test", {}).get("top1", run.top1)
        cohort = next(cohort for cohort in self.cohorts if run in cohort.runs)
        epoch_s = entry["seconds"] * len(cohort.runs) + entry.get("shared_seconds", 0.0)
        self._add_work(run, entry["epoch"], epoch_s)
        return cohort

    def _add_work(self, run: RunProgress, epoch: int, seconds: float) -> None:
        """Count the work of a run until an epoch; `seconds` is the time of its last part."""
        self.done += max(0, epoch - run.epoch) * run.work
        run.epoch, self._last_epoch = epoch, self.clock()
        if self._working_since is None:  # the time that workers need to start is omitted
            self._working_since = self._last_epoch - seconds

    def end(self, record: Record) -> RunProgress:
        """Update the state from a record; remove a cohort after the last record of its runs."""
        run = self.runs[record.id]
        run.status, run.reason, run.top1 = record.status, record.reason or "", record.top1
        if run.run.kind == "probe" and record.status == "done":  # it has no epochs
            self._add_work(run, run.epochs, record.seconds)
        self.work -= (run.epochs - run.epoch) * run.work  # epochs that will not be trained
        self.cohorts = [cohort for cohort in self.cohorts if not all(r.status for r in cohort.runs)]
        return run

    @property
    def counts(self) -> Counter[str]:
        """Number of runs with a record, by the status of the record."""
        return Counter(run.status for run in self.runs.values() if run.status)

    @property
    def lost(self) -> list[RunProgress]:
        """The runs that ended without a result."""
        return [run for run in self.runs.values() if run.status in LOST]

    @property
    def time_left(self) -> float | None:
        """Estimated seconds until the end, from the rate so far.

        None before the first epoch or measure has ended.
        """
        if self._working_since is None:
            return None
        per_work = (self._last_epoch - self._working_since) / self.done
        return max(0.0, (self.work - self.done) * per_work - (self.clock() - self._last_epoch))

    @property
    def summary(self) -> str:
        """The progress as text, such as `31 of 48 runs, 1 failed, about 2 min 10 s left`."""
        counts, left = self.counts, self.time_left
        parts = [f"{counts.total()} of {len(self.runs)} runs"]
        parts += [f"{counts[status]} {status}" for status in sorted(counts) if status != "done"]
        if left is not None and counts.total() < len(self.runs):
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as text in at most two units: `12 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    rounded = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if rounded >= size:
            return f"{rounded // size} {unit} {rounded % size // part} {smaller}"
    return f"{rounded // 60} min {rounded % 60} s" if rounded >= 60 else f"{rounded} s"


class Live:
    """Redraws a table of the cohorts that train; at the end, a summary replaces the table."""

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
        """Add the cohort to the table."""
        self._progress.start(cohort, device)
        self._screen.start()

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Show the run's epoch and accuracy."""
        self._progress.advance(run, entry)

    def record(self, record: Record) -> None:
        """Update the number of ended runs."""
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
        """Return the current table; the library `rich` calls this method in another thread."""
        progress = self._progress
        bar = Table.grid(padding=(0, 2))
        name = Text(progress.plan.suite.name, "bold")
        bar.add_row(name, ProgressBar(progress.work or 1.0, progress.done))
        rows = [row for cohort in progress.cohorts for row in _rows(cohort)]
        return Group(bar, Text(progress.summary), *_latest_lost(progress), *rows)


class Lines:
    """Writes lines of text to a stream; the base class of two views."""

    def __init__(self, progress: Progress, out: TextIO) -> None:
        self._progress, self._out = progress, out
        self._last_line = progress.clock()

    def _write(self, line: str) -> None:
        self._last_line = self._progress.clock()
        self._out.write(f"{printable(line)}\n")
        self._out.flush()


class Plain(Lines):
    """Writes a line for each started cohort, ended run and notice, and for some of the epochs."""

    def started(self, cohort: "Cohort", device: str) -> None:
        """Write the cohort, its device and its methods."""
        started = self._progress.start(cohort, device)
        methods = ", ".join(dict.fromkeys(run.method for run in started.runs))
        self._write(f"started   {started.label} on {device}{methods and f': {methods}'}")

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Write the cohort's epoch after its last run, if the last line is `INTERVAL_S` old."""
        cohort = self._progress.advance(run, entry)
        last = next(each for each in reversed(cohort.runs) if not each.status)
        if last.run.id == run and self._progress.clock() - self._last_line >= INTERVAL_S:
            self._write(f"epoch     {cohort.epoch} of {cohort.label}; {self._progress.summary}")

    def record(self, record: Record) -> None:
        """Write how the run ended."""
        self._write(outcome(self._progress.end(record), record.seconds))

    def notice(self, text: str) -> None:
        """Write the notice."""
        self._write(f"notice    {text}")

    def closed(self) -> None:
        """Write the number of runs with each status."""
        self._write(next(summary(self._progress)))


class Json(Lines):
    """Writes every event as a line of JSON."""

    def started(self, cohort: "Cohort", device: str) -> None:
        """Write `cohort`, `device` and `runs`; each entry of `runs` has an `id` and a `name`."""
        started = self._progress.start(cohort, device)
        runs = [{"id": run.run.id, "name": run.name} for run in started.runs]
        self._event("started", cohort=cohort.id, device=device, runs=runs)

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Write the run's `id` and `name`, and `entry`, which the record's curves also contain."""
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
        """Write the number of `runs`, the `counts` of runs by status, and the elapsed `seconds`."""
        progress = self._progress
        seconds = round(progress.clock() - progress.begun, 3)
        self._event("closed", runs=len(progress.runs), counts=progress.counts, seconds=seconds)

    def _event(self, event: str, **content: Any) -> None:
        self._write(as_json({"event": event, **content}, indent=None))


def summary(progress: Progress) -> Iterator[str]:
    """Yield a line with the number of runs by status, then a line per reason for lost runs."""
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
    """Return a line about the end of a run; `seconds` is the time that the run trained."""
    if run.status != "done":
        return f"{run.status:9} {run.name}: {run.reason}"
    top1 = f"top-1 {run.top1:.2f} %, " if run.top1 is not None else ""
    trained = duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"
    return f"done      {run.name}: {top1}{trained}"


def _rows(cohort: CohortProgress) -> Iterator[RenderableType]:
    """Yield two lines for each pair of a cohort: the epoch, and the methods' accuracies."""
    pairs: dict[str, list[RunProgress]] = {}
    for run in cohort.runs:
        pairs.setdefault(run.pair if run.method else "", []).append(run)
    for pair, runs in pairs.items():
        title = [cohort.device, cohort.label, f"epoch {cohort.epoch}"]
        if runs[0].method:
            title[1] = f"{pair} seed {runs[0].run.specification.seed}"
            lost = [run.status for run in runs if run.status in LOST]
            title.append(f"{sum(not run.status for run in runs)} training")
            title += [f"{lost.count(status)} {status}" for status in dict.fromkeys(lost)]
        yield Text("  ".join(title), "cyan", no_wrap=True, overflow="ellipsis")
        yield Padding(Columns(map(_accuracy, runs), padding=(0, 2)), (0, 0, 0, 2))


def _accuracy(run: RunProgress) -> Text:
    """Return the run's method with its last top-1 accuracy; for a run in `LOST`, its status."""
    if run.status in LOST:
        return Text(f"{run.method} {run.status}", COLOURS[run.status])
    value = f"{run.top1:.1f}" if run.top1 is not None else "-"
    return Text(f"{run.method or 'top-1'} {value:>4}")


def _latest_lost(progress: Progress) -> Iterator[Text]:
    """Yield a line for each of the last `MAX_LOST_SHOWN` runs without a result."""
    for run in progress.lost[-MAX_LOST_SHOWN:]:
        line = printable(outcome(run, 0.0))
        yield Text(line, COLOURS[run.status], overflow="ellipsis", no_wrap=True)


VIEWS: dict[str, type[Live | Plain | Json]] = {"live": Live, "plain": Plain, "json": Json}


def view(
    kind: str, progress: Progress, out: TextIO, *, inline: bool = False
) -> Live | Plain | Json:
    """Return the view of the given kind, which is an observer of the runner.

    Args:
        kind: `live`, `plain` or `json`; `auto` means `live` on a terminal, otherwise `plain`.
        progress: The state that the view shows.
        out: Stream to which the view writes.
        inline: Whether the runs train in this process; `auto` then means `plain`, because the live
            view would overwrite a debugger's prompt.

    Raises:
        BenchError: The kind is unknown.
    """
    if kind == "auto":
        terminal = out.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        kind = "live" if terminal and not inline else "plain"
    if kind not in VIEWS:
        raise BenchError(unknown("view", kind, ["auto", *VIEWS]))
    return VIEWS[kind](progress, out)
