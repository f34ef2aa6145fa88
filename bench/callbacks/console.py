"""Progress on the console: a table that is redrawn in place, plain lines, or lines of JSON."""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import rich.live
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.callbacks.progress import (
    LOST,
    CohortProgress,
    Progress,
    RunProgress,
    duration,
    group_reasons,
)  # fmt: skip
from bench.config.text import as_json, printable
from bench.errors import BenchError, unknown
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.plan import Cohort

INTERVAL_S = 10.0  # between two plain lines about epochs
REFRESHES_PER_S = 2
MAX_LOST_SHOWN = 3  # latest runs without a result that are shown while others train
COLOURS = {"failed": "red", "diverged": "red", "skipped": "yellow"}


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
            self._console.print(printable(line), soft_wrap=True, markup=False)

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
    lost = [run for run in progress.runs.values() if run.status in LOST]
    for status, names, reason in group_reasons(
        (run.status or "", run.name, run.reason or "") for run in lost
    ):
        yield f"  {status:9} {names}: {reason}"


def outcome(run: RunProgress, seconds: float) -> str:
    """Return a line about how a run ended after so many seconds of training."""
    if run.status != "done":
        return f"{run.status:9} {run.name}: {run.reason}"
    top1 = f"top-1 {run.top1:.2f} %, " if run.top1 is not None else ""
    trained = duration(seconds) if seconds >= 10 else f"{seconds:.1f} s"
    return f"done      {run.name}: {top1}{trained}"


def _rows(cohort: CohortProgress) -> Iterator[RenderableType]:
    """For each pair of a cohort a line with its epoch, and a line with its accuracies."""
    pairs: dict[str, list[RunProgress]] = {}
    for run in cohort.runs:
        pairs.setdefault(run.pair, []).append(run)
    for pair, runs in pairs.items():
        title = [cohort.device, cohort.label, f"epoch {cohort.epoch}"]
        if runs[0].method:
            title[1] = f"{pair} seed {runs[0].run.specification.seed}"
            lost = [run.status for run in runs if run.status in LOST]
            title.append(f"{len(runs) - len(lost)} alive")
            title += [f"{lost.count(status)} {status}" for status in dict.fromkeys(lost)]
        yield Text("  ".join(title), "cyan", no_wrap=True, overflow="ellipsis")
        yield Padding(Columns(map(_accuracy, runs), padding=(0, 2)), (0, 0, 0, 2))


def _accuracy(run: RunProgress) -> Text:
    """A method's last top-1 in a fixed width, or that it is lost."""
    if run.status in LOST:
        return Text(f"{run.method} lost", COLOURS[run.status])
    value = f"{run.top1:.1f}" if run.top1 is not None else "-"
    return Text(f"{run.method or 'top-1'} {value:>4}")


def _latest_lost(progress: Progress) -> Iterator[Text]:
    """A line for each of the latest runs without a result."""
    lost = [run for run in progress.runs.values() if run.status in LOST]
    for run in lost[-MAX_LOST_SHOWN:]:
        colour = COLOURS[run.status or ""]
        yield Text(printable(outcome(run, 0.0)), colour, overflow="ellipsis", no_wrap=True)


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
