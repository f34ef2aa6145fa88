"""Progress on a terminal: a table that is redrawn in place."""

import os
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import rich.live
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.callbacks.progress import LOST, CohortProgress, Progress, RunProgress
from bench.callbacks.text import Json, Plain, outcome, summary
from bench.config.text import printable
from bench.errors import BenchError, unknown
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.plan import Cohort

KINDS = ("auto", "live", "plain", "json")
REFRESHES_PER_S = 2
MAX_LOST_SHOWN = 3  # latest runs without a result that are shown while others train
COLOURS = {"failed": "red", "diverged": "red", "skipped": "yellow"}


def view(kind: str, progress: Progress, out: TextIO) -> "Live | Plain | Json":
    """Return the observer that shows progress.

    Args:
        kind: `live`, `plain` or `json`; `auto` is live on a terminal, else plain.
        progress: State of the session.
        out: Where the view is written.

    Raises:
        BenchError: The kind is unknown.
    """
    if kind not in KINDS:
        raise BenchError(unknown("view", kind, KINDS))
    if kind == "json":
        return Json(progress, out)
    terminal = out.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    if kind == "live" or (kind == "auto" and terminal):
        return Live(progress, out)
    return Plain(progress, out)


class Live:
    """A table of the cohorts that train, redrawn in place; a summary remains at the end."""

    def __init__(self, progress: Progress, out: TextIO, console: Console | None = None) -> None:
        self._progress = progress
        self._console = console or Console(file=out, highlight=False)
        self._lock = threading.Lock()  # rich draws in a thread of its own
        self._screen = rich.live.Live(
            console=self._console,
            get_renderable=self.draw,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
        )

    def started(self, cohort: "Cohort", device: str) -> None:
        """Show the cohort."""
        with self._lock:
            self._progress.start(cohort, device)
        self._screen.start()

    def epoch(self, run: str, entry: Mapping[str, Any]) -> None:
        """Show the run's epoch and accuracy."""
        with self._lock:
            self._progress.advance(run, entry)

    def record(self, record: Record) -> None:
        """Count the run."""
        with self._lock:
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
        """Return the current view."""
        with self._lock:
            progress = self._progress
            bar = Table.grid(padding=(0, 2))
            name = Text(progress.plan.suite.name, "bold")
            bar.add_row(name, ProgressBar(progress.work or 1.0, progress.done))
            rows = [row for cohort in progress.cohorts for row in _rows(cohort)]
            return Group(bar, Text(progress.summary), *_latest_lost(progress), *rows)


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
