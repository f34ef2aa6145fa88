"""What is seen of a run of a suite: on a terminal a table that is redrawn in place."""

import os
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.callbacks.progress import Course, Progress, Underway
from bench.callbacks.text import LOST, Json, Plain, outcome, summary
from bench.config.text import printable
from bench.errors import BenchError, unknown
from bench.results import Record

if TYPE_CHECKING:
    from bench.planning.plan import Cohort

KINDS = ("auto", "live", "plain", "json")
REFRESH = 2  # times a second
TROUBLES = 3  # of the latest, shown while others run
COLOURS = {"failed": "red", "diverged": "red", "skipped": "yellow"}


def view(kind: str, progress: Progress, out: TextIO) -> "Live | Plain | Json":
    """The observer of a kind: auto, live, plain or json; auto is live on a terminal, else plain."""
    if kind not in KINDS:
        raise BenchError(unknown("view", kind, KINDS))
    if kind == "json":
        return Json(progress, out)
    terminal = out.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    if kind == "live" or (kind == "auto" and terminal):
        return Live(progress, out)
    return Plain(progress, out)


class Live:
    """A table of the cohorts under way, redrawn in place; a summary stays when all is done."""

    def __init__(self, progress: Progress, out: TextIO, console: Console | None = None) -> None:
        self._progress = progress
        self._console = console or Console(file=out, highlight=False)
        self._lock = threading.Lock()  # the screen draws from a thread of its own
        self._screen = Screen(
            console=self._console,
            get_renderable=self.drawn,
            refresh_per_second=REFRESH,
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
        """Leave it above the table."""
        self._console.print(printable(text), soft_wrap=True, markup=False)

    def closed(self) -> None:
        """Leave a summary in the table's place."""
        self._screen.stop()
        for line in summary(self._progress):
            self._console.print(printable(line), soft_wrap=True, markup=False)

    def drawn(self) -> RenderableType:
        """The whole view at this moment."""
        with self._lock:
            progress = self._progress
            bar = Table.grid(padding=(0, 2))
            bar.add_row(Text(progress.plan.suite.name, "bold"), ProgressBar(1, progress.share))
            blocks = [part for group in progress.groups for part in _blocks(group)]
            return Group(bar, Text(progress.said()), *_troubles(progress), *blocks)


def _blocks(group: Underway) -> Iterator[RenderableType]:
    """For each pair of a cohort a line that says where it is, and its accuracies."""
    pairs: dict[str, list[Course]] = {}
    for course in group.courses:
        pairs.setdefault(course.pair, []).append(course)
    for pair, courses in pairs.items():
        name = f"{pair} seed {courses[0].run.specification['seed']}"
        ended = [course.status for course in courses if course.status in LOST]
        lives = [f"{len(courses) - len(ended)} alive"] if courses[0].method else []
        lives += [f"{ended.count(status)} {status}" for status in dict.fromkeys(ended)]
        where = name if courses[0].method else group.label
        title = (group.device, where, f"epoch {group.epoch}", *lives)
        yield Text("  ".join(title), "cyan", no_wrap=True, overflow="ellipsis")
        yield Padding(
            Columns([_accuracy(course) for course in courses], padding=(0, 2)), (0, 0, 0, 2)
        )


def _accuracy(course: Course) -> Text:
    """A method's last top-1, in a width that does not change, or that it is lost."""
    value = f"{course.top1:.1f}" if course.top1 is not None else "-"
    if course.status in LOST:
        return Text(f"{course.method} lost", COLOURS[course.status])
    return Text(f"{course.method or 'top-1'} {value:>4}")


def _troubles(progress: Progress) -> Iterator[Text]:
    """The latest runs that came to no good, a line each."""
    lost = [course for course in progress.courses.values() if course.status in LOST]
    for course in lost[-TROUBLES:]:
        colour = COLOURS[course.status or ""]
        yield Text(printable(outcome(course, 0.0)), colour, overflow="ellipsis", no_wrap=True)
